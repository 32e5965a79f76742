// A button that has the browser fetch a file of any size from the page's own address, straight onto the disk.

import { element, mountable, say } from "./lifecycle.js";

const ASK_MS = 15000;

class Download {
  constructor(host) {
    this.label = element("span");
    this.button = element("button", { type: "button", class: "ps-download" }, this.label);
    this.button.addEventListener("click", () => this.fetch());
    this.words = element("p", { class: "ps-download-words", role: "status", hidden: true });
    host.append(this.button, this.words);
  }

  update(data) {
    if (this.data?.href !== data.href) this.tell("");
    this.data = data;
    say(this.label, data.label);
  }

  tell(text, bad = false) {
    say(this.words, text);
    this.words.hidden = !text;
    this.words.classList.toggle("ps-bad", bad);
  }

  /** Ask first whether the file can be had: a download that fails tells a person nothing. */
  async fetch() {
    const { href, name } = this.data;
    const address = new URL(href, document.baseURI);
    this.button.disabled = true;
    this.tell("Asking for the file…");
    try {
      const answer = await fetch(address, { method: "HEAD", signal: AbortSignal.timeout(ASK_MS) });
      if (!answer.ok) {
        const said = answer.headers.get("x-reason");
        this.tell(said ? decodeURIComponent(said) : "There is no such file any more: load the page anew.", true);
        return;
      }
      const named = /filename="([^"]+)"/.exec(answer.headers.get("content-disposition") ?? "")?.[1] ?? name;
      const link = element("a", { href: address.href, download: named });
      document.body.append(link);
      link.click();
      link.remove();
      this.tell(`Your browser is downloading ${named}.`);
    } catch {
      this.tell("The page's server does not answer: try again in a moment.", true);
    } finally {
      this.button.disabled = false;
    }
  }

  destroy() {}
}

export const mount = mountable((host) => new Download(host));
