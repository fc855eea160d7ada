// What the page on the phone asks the user for, and what its answers led to.

const FORMS = {
  "/activate": "The phone asks for the code: type the one that the television shows, and press Continue.",
  "/activate/confirm": "The phone shows the code too: compare them, then press “Yes, it shows this code”.",
  "/activate/login": "The phone asks who you are: log in, or pick a test user.",
  "/activate/consent": "The phone lists what the television asks for: press Allow.",
};
const OUTCOMES = {
  approved: "You approved. The television gets its tokens with its next poll.",
  refused: "You refused. The television learns this with its next poll.",
};

// The next step, or null if the page is none of the activation.
export function stepOnPhone(page) {
  const outcome = page.querySelector("[data-outcome]")?.dataset.outcome;
  if (outcome) return OUTCOMES[outcome];
  if (page.getElementById("user_code-error")) return "The issuer refused this code: type the one that the television shows.";
  if (page.getElementById("login-error")) return "The issuer refused the user name or the password: try again, or pick a test user.";
  const form = [...page.forms].map(({ action }) => new URL(action).pathname).find((path) => pathBelow(path) in FORMS);
  return form ? FORMS[pathBelow(form)] : null;
}

// An issuer identifier with a path has its pages below that path.
const pathBelow = (path) => path.slice(path.lastIndexOf("/activate"));
