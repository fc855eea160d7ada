// The page: what each button does, and in which state it is enabled.

import { byId } from "./dom.js";
import { canMakeKeys } from "./dpop.js";
import { send } from "./exchanges.js";
import { stepOnPhone } from "./guide.js";
import { Phone } from "./phone.js";
import { Television } from "./television.js";

const settings = JSON.parse(byId("settings").textContent);
const WAITING = ["scan", "type", "poll-fast"];
const CONNECTED = ["call", "altered", "stolen"];
// These buttons need the issuer's test controls.
const CONTROLS = { waiting: ["deny", "expire"], connected: ["expired", "rotate"] };
// These buttons need a refresh token.
const REFRESHING = ["refresh", "without-scope", "rotate", "unlink"];

const phone = new Phone((page) => {
  const step = television.state === "waiting" && stepOnPhone(page);
  if (step) television.say(step);
});
// The button that gets the focus in each state when the focused one is hidden or disabled.
const FOCUS = { idle: "start", waiting: "scan", connected: "call" };
// The actions of the connected television run one after another: two refreshes at once would send one refresh token
// twice.
let queue = Promise.resolve();

const television = new Television(settings, (state) => {
  const focused = document.activeElement;
  for (const [when, buttons] of Object.entries({ waiting: WAITING, connected: CONNECTED })) {
    for (const id of buttons) byId(id).disabled = state !== when;
    for (const id of CONTROLS[when]) byId(id).disabled = state !== when || !settings.controls;
  }
  const canRefresh = state === "connected" && Boolean(television.tokens.refresh_token);
  for (const id of REFRESHING) byId(id).disabled = !canRefresh || (CONTROLS.connected.includes(id) && !settings.controls);
  for (const each of Object.keys(FOCUS)) {
    if (each === state) byId(`step-${each}`).setAttribute("aria-current", "step");
    else byId(`step-${each}`).removeAttribute("aria-current");
  }
  if (focused.disabled || !focused.checkVisibility()) byId(FOCUS[state]).focus({ preventScroll: true });
});

if (!canMakeKeys) {
  byId("dpop").disabled = true;
  byId("about-dpop").textContent = "Browsers make keys on https and loopback only.";
}

function control(operation, json, why) {
  return send({ from: "Tester", why, method: "POST", url: `/_mock/${operation}`, json });
}

const actions = {
  start: () => {
    phone.close();
    const { dpop, ...request } = Object.fromEntries(new FormData(byId("request")));
    return television.start(request, dpop === "on");
  },
  scan: () => phone.open(`/activate?${new URLSearchParams({ user_code: television.device.user_code })}`),
  type: () => phone.open("/activate"),
  "poll-fast": () => television.pollFast(),
  deny: async () => {
    await control("deny", { user_code: television.device.user_code }, "The test control denies the request.");
    television.say("Denied. The television learns this with its next poll.");
  },
  expire: async () => {
    await control("expire", { user_code: television.device.user_code }, "The test control expires the code.");
    television.say("Expired. The television learns this with its next poll.");
  },
  call: () => television.call(),
  refresh: async () => {
    if (await television.refresh()) await television.call(`New access token, valid until ${television.validUntil()}.`);
  },
  "without-scope": () => television.callWithoutScope(),
  altered: () => television.callAltered(),
  stolen: () => television.callStolen(),
  expired: () => television.callExpired(control),
  rotate: async () => {
    await control("rotate_keys", {}, "The test control makes a new signing key.");
    await send({ from: "Tester", why: "Both keys are published now; tokens signed with the old one remain valid.", url: "/.well-known/jwks.json" });
    if (!(await television.refresh("The television gets tokens signed with the new key."))) return;
    const status = await television.call();
    if (status === 200) {
      television.say("New signing key. The API accepted a token signed with it: it has fetched the key set again.");
    } else if (status === 401) {
      television.say("New signing key. The API does not have it yet: it fetches unknown keys at most every 10 seconds. Press Call the API then.");
    }
  },
  unlink,
};

async function unlink() {
  await phone.open("/account/devices");
  const button = phone.page.querySelector('button[id^="unlink-"]');
  if (!button) {
    television.say("Log in on the phone to see your devices, and press Unlink there. Then press Refresh the token.");
    return;
  }
  const done = new Promise((resolve) => phone.waiting.push(resolve));
  button.click();
  await done;
  await television.call();
  await television.refresh("The access token remains valid until it expires, but a refresh fails.");
}

function enqueue(id, action) {
  const result = queue.then(() => byId(id).disabled || action());
  queue = result.catch(() => {});
  return result;
}

for (const [id, action] of Object.entries(actions)) {
  // Start is the button of a form, so that Enter in one of its fields presses it.
  const [source, type] = id === "start" ? [byId("request"), "submit"] : [byId(id), "click"];
  source.addEventListener(type, async (event) => {
    event.preventDefault();
    const button = byId(id);
    // Ignore a press while the one before is being handled.
    if (button.getAttribute("aria-busy") === "true") return;
    button.setAttribute("aria-busy", "true");
    try {
      await ([...CONNECTED, ...CONTROLS.connected, ...REFRESHING].includes(id) ? enqueue(id, action) : action());
    } finally {
      button.removeAttribute("aria-busy");
    }
  });
}
