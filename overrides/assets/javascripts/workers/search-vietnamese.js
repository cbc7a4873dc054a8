/* The theme's search worker, taught Vietnamese: words typed without marks find words with marks.
 *
 * The page names the theme's worker behind the "?" of this script's address. It lies beside this one, because it looks for its
 * own files from where it is. When a document is added, each word is indexed twice: without marks, and as it is written. The
 * two kinds of terms never mix: the second kind starts with a character that no text has.
 */
const WRITTEN = "\uE000"
const words = new Set()

/* One spelling per word: composed letters, and the tone where the old style has it (hoá = hóa, thuý = thúy, khoẻ = khỏe). */
const spelling = text => text.toLowerCase().normalize("NFD")
  .replace(/(o)([ae])([\u0300\u0301\u0303\u0309\u0323])(?![\p{L}\p{M}])/gu, "$1$3$2")
  .replace(/(?<!q)(u)(y)([\u0300\u0301\u0303\u0309\u0323])(?![\p{L}\p{M}])/gu, "$1$3$2")
  .normalize("NFC")

const withoutMarks = text => text.normalize("NFD").replace(/\p{M}/gu, "").replace(/đ/g, "d")

/* Pipeline function: the terms under which a word is found. */
function vietnamese(token) {
  const written = spelling(token.toString())
  const plain = withoutMarks(written)
  const bare = token.clone(() => plain)
  if (written === plain)
    return bare
  words.add(WRITTEN + written)
  return [bare, token.clone(() => WRITTEN + written)]
}

/* The term to look for: as written if any word starts like that, else without marks. */
function term(word) {
  const written = WRITTEN + spelling(word)
  const plain = withoutMarks(spelling(word))
  const known = written !== WRITTEN + plain && [...words].some(other => other.startsWith(written))
  return known ? written : plain
}

/* Name the words that were found as the text has them, so that the page opened from a result highlights them too. */
function named(item) {
  const found = [...`${item.title} ${item.text}`.matchAll(/<mark>(.*?)<\/mark>/g)].map(([, word]) => [word, true])
  const terms = Object.entries(item.terms)
  const missing = terms.filter(([, hit]) => !hit).map(([word]) => [word.replace(WRITTEN, ""), false])
  const hits = found.length ? found : terms.filter(([, hit]) => hit)
  return { ...item, terms: Object.fromEntries([...missing, ...hits]) }
}

/* Both ways pass through here before the theme's worker and the page see them. A theme that searches without lunr is left alone. */
addEventListener("message", event => {
  if (words.size && typeof event.data.data === "string")
    event.data.data = event.data.data.replace(/[\p{L}\p{M}\p{N}]+/gu, term)
})
const answer = self.postMessage.bind(self)
self.postMessage = message => {
  if (words.size && message.data?.items)
    message.data.items = message.data.items.map(group => group.map(named))
  answer(message)
}

async function start() {
  const here = new URL(self.document?.currentScript.src ?? location.href)
  await importScripts(new URL(here.search.slice(1), here).href)
  if (!self.lunr)
    return
  lunr.Pipeline.registerFunction(vietnamese, "vietnamese")
  const add = lunr.Builder.prototype.add
  const taught = new WeakSet()
  lunr.Builder.prototype.add = function (...document) {
    if (!taught.has(this))
      this.pipeline.add(vietnamese)
    taught.add(this)
    return add.apply(this, document)
  }
}
start()
