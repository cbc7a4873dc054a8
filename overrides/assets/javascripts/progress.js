/* Reading progress. It lives in this browser alone; nothing is kept or shown before a reader marks a first lesson as read. */
const progress = {
  /* Address of a lesson within the site -> the day it was marked. */
  read: () => __md_get("aero.read") || {},
  write: read => __md_set("aero.read", read),
  path: address => new URL(address, location).pathname.replace(__md_scope.pathname, "").replace(/index\.html$/, ""),
}

function element(tag, properties, ...children) {
  const result = Object.assign(document.createElement(tag), properties)
  result.append(...children)
  return result
}

/* At the end of a lesson: one button. */
function showButton(article) {
  const path = progress.path(location)
  const footer = article.querySelector(".aero-footer")
  if (!footer || !path.includes("/") || article.querySelector(".aero-index"))
    return
  const button = element("button", { type: "button", className: "md-button" })
  const draw = () => {
    const marked = path in progress.read()
    button.textContent = marked ? "✓ Đã đọc" : "Đánh dấu đã đọc"
    button.setAttribute("aria-pressed", marked)
  }
  button.onclick = () => {
    const read = progress.read()
    path in read ? delete read[path] : (read[path] = new Date().toISOString().slice(0, 10))
    progress.write(read)
    draw()
  }
  draw()
  footer.before(element("p", { className: "aero-progress" }, button))
}

/* In lists of modules and lessons: what has been read, once there is anything. */
function showCounts(article) {
  const list = article.querySelector(".aero-index")
  const data = document.getElementById("__lessons")
  list?.querySelectorAll(".aero-read, .aero-progress").forEach(old => old.remove())
  const read = Object.keys(progress.read())
  if (!list || !data || !read.length)
    return
  const lessons = JSON.parse(data.textContent)
  const counted = prefix => {
    const all = lessons.filter(lesson => lesson.startsWith(prefix))
    return `${all.filter(lesson => read.includes(lesson)).length}/${all.length}`
  }
  for (const link of list.querySelectorAll("li a")) {
    const path = progress.path(link.href)
    if (read.includes(path))
      link.after(element("span", { className: "aero-read" }, " ✓ đã đọc"))
    else if (!lessons.includes(path))
      link.after(element("span", { className: "aero-read" }, ` ${counted(path)} bài đã đọc`))
  }
  list.append(panel(article, counted("")))
}

function panel(article, count) {
  const save = () => {
    const file = new Blob([JSON.stringify(progress.read(), null, 2)], { type: "application/json" })
    const link = element("a", { href: URL.createObjectURL(file), download: "tien-do-doc.json" })
    link.click()
    URL.revokeObjectURL(link.href)
  }
  const file = element("input", { type: "file", accept: ".json,application/json", hidden: true })
  file.onchange = async () => {
    const days = JSON.parse(await file.files[0].text())
    progress.write({ ...progress.read(), ...days })
    showCounts(article)
  }
  const forget = () => {
    progress.write({})
    showCounts(article)
  }
  const button = (text, onclick) => element("button", { type: "button", className: "aero-chip", textContent: text, onclick })
  return element("p", { className: "aero-progress" },
    element("span", {}, `Tiến độ: ${count} bài, chỉ lưu trong trình duyệt này. `),
    button("Xuất", save), " ", button("Nhập", () => file.click()), " ", button("Xóa", forget), file)
}

document$.subscribe(() => {
  const article = document.querySelector("article")
  if (!article.querySelector(":scope > .aero-progress"))
    showButton(article)
  showCounts(article)
})
