// The phone: the issuer's activation pages in a same-origin frame; each page load is shown as an exchange.

import { byId } from "./dom.js";
import { showPageLoad } from "./exchanges.js";

const HIDDEN = new Set(["csrf_token", "password"]);

export class Phone {
  // `shown` is called with each page that the phone shows.
  constructor(shown) {
    this.shown = shown;
    this.frame = byId("phone");
    this.waiting = [];
    this.frame.addEventListener("load", () => this.loaded());
  }

  open(path) {
    byId("phone-empty").hidden = true;
    this.frame.hidden = false;
    this.frame.scrollIntoView({ block: "nearest" });
    const before = this.frame.contentWindow.location;
    // Assigning the current URL again would not always load the page.
    if (before.href === new URL(path, location.href).href) before.reload();
    else before.assign(path);
    return new Promise((resolve) => this.waiting.push(resolve));
  }

  close() {
    this.frame.hidden = true;
    byId("phone-empty").hidden = false;
    byId("phone-address").textContent = "No page open";
  }

  get page() {
    return this.frame.contentDocument;
  }

  loaded() {
    const { location: at, performance } = this.frame.contentWindow;
    if (at.href === "about:blank") return;
    byId("phone-address").textContent = at.host + at.pathname + at.search;
    this.frame.title = `The page on the phone: ${this.page.title}`;
    const navigation = performance.getEntriesByType("navigation")[0];
    const heading = this.page.querySelector("h1")?.textContent ?? "";
    const status = navigation?.responseStatus || 200;
    const sent = this.sent ?? { method: "GET", url: at.href };
    const redirected = this.sent && sent.url !== at.href ? `redirected to ${at.pathname}, then ` : "";
    showPageLoad(
      { from: "Phone", page: true, why: this.sent ? "The user submits a form." : "The user opens a page.", ...sent },
      { status, words: redirected ? "after a redirect" : "", text: `${redirected}the page “${heading}”` },
    );
    this.sent = null;
    for (const form of this.page.forms) form.addEventListener("submit", (event) => this.submitted(form, event.submitter));
    this.shown(this.page);
    for (const resolve of this.waiting.splice(0)) resolve();
  }

  submitted(form, submitter) {
    const fields = [...new FormData(form, submitter)].map(([name, value]) => [name, HIDDEN.has(name) ? "(not shown)" : value]);
    this.sent = { method: form.method.toUpperCase(), url: form.action, form: Object.fromEntries(fields) };
  }
}
