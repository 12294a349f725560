/*
A browser starts no worker for a page that is opened as a file, and the search runs in one. There, a hidden frame takes
its place: the worker's script runs in the frame, and messages go to and fro as events.
*/
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(address) {
      super();
      const base = new URL(address, location);
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.append(frame);
      const inside = frame.contentWindow;
      const load = (script) =>
        new Promise((done, failed) => {
          const element = inside.document.createElement("script");
          element.onload = done;
          element.onerror = () => failed(new Error(`${script} cannot be loaded`));
          element.src = new URL(script, base);
          inside.document.body.append(element);
        });
      inside.importScripts = async (...scripts) => {
        for (const script of scripts) await load(script);
      };
      inside.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
      this.inside = inside;
      this.ready = load(base);
    }

    async postMessage(data) {
      await this.ready;
      this.inside.dispatchEvent(new this.inside.MessageEvent("message", { data }));
    }
  };
}
