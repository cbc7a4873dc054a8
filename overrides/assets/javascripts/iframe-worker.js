/* Workers for pages opened from a disk, where browsers refuse real ones: the script runs in a hidden frame of the page.
 * The theme's search worker looks for the name `IFrameWorker`. Only the offline build loads this file.
 */
if (location.protocol === "file:") {
  window.IFrameWorker = class extends EventTarget {
    constructor(address) {
      super()
      this.frame = document.createElement("iframe")
      this.frame.hidden = true
      this.frame.srcdoc = `<script>parent.IFrameWorker.prepare(self)</script><script src="${new URL(address, document.baseURI)}"></script>`
      this.ready = new Promise(resolve => (this.frame.onload = resolve))
      this.frame.worker = this
      document.body.append(this.frame)
    }

    /* Give a frame what a worker's script expects of its global object. */
    static prepare(self) {
      const worker = self.frameElement.worker
      self.postMessage = data => worker.dispatchEvent(new MessageEvent("message", { data }))
      self.importScripts = async (...addresses) => {
        for (const address of addresses)
          await new Promise((resolve, reject) => {
            const script = self.document.createElement("script")
            Object.assign(script, { src: address, onload: resolve, onerror: reject })
            self.document.head.append(script)
          })
      }
    }

    postMessage(data) {
      this.ready.then(() => this.frame.contentWindow.dispatchEvent(new MessageEvent("message", { data })))
    }

    terminate() {
      this.frame.remove()
    }
  }
  window.Worker = window.IFrameWorker
}
