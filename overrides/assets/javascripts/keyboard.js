/* What scrolls sideways can be reached with the keyboard; what does not scroll is no stop on the way. Beside that, regions of the theme
 * that have no name get one, or stop being landmarks.
 */
const wide = ".arithmatex, .md-typeset__scrollwrap, .aero-output__html"

function reach(box) {
  box.scrollWidth > box.clientWidth ? box.setAttribute("tabindex", "0") : box.removeAttribute("tabindex")
}

const sizes = new ResizeObserver(entries => entries.forEach(entry => reach(entry.target)))

document$.subscribe(() => {
  sizes.disconnect()
  document.querySelectorAll(wide).forEach(box => sizes.observe(box))
  document.fonts.ready.then(() => document.querySelectorAll(wide).forEach(reach))
  for (const list of document.querySelectorAll("nav.md-nav[aria-labelledby]")) {
    const link = list.parentElement.querySelector(":scope > .md-nav__container > a")
    if (link) {
      list.removeAttribute("aria-labelledby")
      list.setAttribute("aria-label", link.textContent.trim())
    }
  }
})

/* The theme adds the buttons of a code block when it comes into view. */
new MutationObserver(records => {
  for (const { addedNodes } of records)
    for (const node of addedNodes)
      if (node.matches?.(".md-code__nav"))
        node.setAttribute("role", "none")
}).observe(document.body, { childList: true, subtree: true })
