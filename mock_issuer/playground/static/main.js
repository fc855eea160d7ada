// The page: what each button does, and when it may be pressed.

import { byId } from "./dom.js";
import { send } from "./exchanges.js";
import { Phone } from "./phone.js";
import { Television } from "./television.js";

const settings = JSON.parse(byId("settings").textContent);
const WAITING = ["scan", "type", "poll-fast"];
const CONNECTED = ["call", "refresh", "unlink"];
// These are a tester's, by the issuer's controls.
const CONTROLS = { waiting: ["deny", "expire"], connected: ["rotate"] };

const phone = new Phone();
// Where the keyboard goes on once what it was on has gone or can no longer be pressed.
const NEXT = { idle: "start", waiting: "scan", connected: "call" };
// The end of all that was asked of the connected television so far. It does one thing at a time: two refreshes at once
// would spend one refresh token twice.
let turn = Promise.resolve();

const television = new Television(settings, (state) => {
  const used = document.activeElement;
  for (const [when, buttons] of Object.entries({ waiting: WAITING, connected: CONNECTED })) {
    for (const id of buttons) byId(id).disabled = state !== when;
    for (const id of CONTROLS[when]) byId(id).disabled = state !== when || !settings.controls;
  }
  for (const each of Object.keys(NEXT)) {
    if (each === state) byId(`step-${each}`).setAttribute("aria-current", "step");
    else byId(`step-${each}`).removeAttribute("aria-current");
  }
  if (used.disabled || !used.checkVisibility()) byId(NEXT[state]).focus({ preventScroll: true });
});

function control(operation, json, why) {
  return send({ from: "Tester", why, method: "POST", url: `/_mock/${operation}`, json });
}

const actions = {
  start: () => {
    phone.close();
    return television.start();
  },
  scan: () => phone.open(`/activate?${new URLSearchParams({ user_code: television.device.user_code })}`),
  type: () => phone.open("/activate"),
  "poll-fast": () => television.pollFast(),
  deny: async () => {
    await control("deny", { user_code: television.device.user_code }, "You refuse, without the pages.");
    television.say("Refused. The television learns it when it asks again.");
  },
  expire: async () => {
    await control("expire", { user_code: television.device.user_code }, "The code is let expire, without the wait.");
    television.say("Expired. The television learns it when it asks again.");
  },
  call: () => television.call(),
  refresh: async () => {
    if (await television.refresh()) await television.call();
  },
  rotate: async () => {
    await control("rotate_keys", {}, "The issuer is told to sign with a new key.");
    await send({ from: "Tester", why: "Both keys are published now: tokens of the old one stay good.", url: "/.well-known/jwks.json" });
    if (!(await television.refresh("It refreshes, and gets tokens of the new key."))) return;
    const status = await television.call();
    if (status === 200) {
      television.say("A token of a key never seen before was accepted: the key set was fetched again.");
    } else if (status === 401) {
      television.say("The API does not know the new key yet: it fetches keys that it misses at most once in 10 seconds. Call it again then.");
    }
  },
  unlink,
};

async function unlink() {
  await phone.open("/account/devices");
  const button = phone.page.querySelector('button[id^="unlink-"]');
  if (!button) {
    television.say("Log in on the phone to see your devices, and press Unlink there; then refresh the token here.");
    return;
  }
  const done = new Promise((resolve) => phone.waiting.push(resolve));
  button.click();
  await done;
  await television.call();
  await television.refresh("Its access token still works until it expires; but it tries to refresh.");
}

function inTurn(id, action) {
  const mine = turn.then(() => byId(id).disabled || action());
  turn = mine.catch(() => {});
  return mine;
}

for (const [id, action] of Object.entries(actions)) {
  byId(id).addEventListener("click", async () => {
    const button = byId(id);
    // Twice at once would mix two answers up.
    if (button.getAttribute("aria-busy") === "true") return;
    button.setAttribute("aria-busy", "true");
    try {
      await ([...CONNECTED, ...CONTROLS.connected].includes(id) ? inTurn(id, action) : action());
    } finally {
      button.removeAttribute("aria-busy");
    }
  });
}
