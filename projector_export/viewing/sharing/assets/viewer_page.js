// The page around TensorBoard's projector when it is shared as a file or a folder.
//
// Answers the viewer's requests from what came with the page, so that nothing leaves it; opens the
// view that the address names (#view=TITLE&embedding=NAME); draws the bar with links to all views.
// Runs before the viewer's own script.
(() => {
  "use strict";

  const page = JSON.parse(document.getElementById("shared-page").textContent);
  const embeddings = new Map(page.embeddings.map((one) => [one.name, one]));
  const PCA_IS_SLOW = 2_000_000; // values; computing PCA takes seconds from here on
  const current = { embedding: null, view: null };

  // ---- what came with the page -----------------------------------------------------------------

  function bytesOfBase64(text) {
    if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
    const binary = atob(text);
    const bytes = new Uint8Array(binary.length);
    for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i);
    return bytes;
  }

  /** Inflates a file of the page, piece by piece; its base64 stays where it is. */
  function inflate(part) {
    if (typeof DecompressionStream === "undefined") {
      throw new Error("this browser is too old; Chrome, Edge or Firefox since 2023 can open it");
    }
    const pieces = document.querySelectorAll(`script[data-part="${part}"]`);
    let next = 0;
    const packed = new ReadableStream({
      pull(controller) {
        if (next === pieces.length) controller.close();
        else controller.enqueue(bytesOfBase64(pieces[next++].textContent));
      },
    });
    return new Response(packed.pipeThrough(new DecompressionStream("deflate")));
  }

  /** Puts float32 values together whose 1st, 2nd, 3rd and 4th bytes lie in four planes. */
  function joinPlanes(buffer) {
    const n = buffer.byteLength / 4;
    const bytes = new Uint8Array(buffer);
    const [a, b, c, d] = [0, 1, 2, 3].map((plane) => bytes.subarray(plane * n, (plane + 1) * n));
    const values = new Uint32Array(n);
    for (let i = 0; i < n; i++) values[i] = a[i] | (b[i] << 8) | (c[i] << 16) | (d[i] << 24);
    return values;
  }

  async function blobOf(file) {
    let content = await inflate(file.part).arrayBuffer();
    if (file.planes) content = joinPlanes(content);
    return new Blob([content], { type: file.type });
  }

  function blobOfJson(value) {
    return new Blob([JSON.stringify(value)], { type: "application/json" });
  }

  // ---- the viewer's requests -------------------------------------------------------------------

  /** The viewer writes names into addresses as they are, so that they are not parsed as URLs. */
  function routeOf(address) {
    const parts =
      /^(?:\.\/)?(runs|info|tensor|metadata|bookmarks|sprite_image)(?:\?run=[^&]*(?:&name=(.*?))?(?:&num_rows=\d+)?)?$/s;
    const match = parts.exec(String(address));
    return match && { what: match[1], name: match[2] };
  }

  // The viewer opens the largest embedding first. Where the address names another one, this is the
  // one that is awaited; answers to requests for the first would come in between.
  let awaited = null;
  let first = true;

  function noteRequest({ what, name }) {
    if (what !== "tensor") return;
    if (first) {
      first = false;
      const wanted = chooseEmbedding(targetOf(location.hash), name);
      if (wanted !== name) {
        awaited = wanted;
        setTimeout(() => (findViewer().dataPanel.selectedTensor = wanted));
        return;
      }
    }
    if (awaited === name) awaited = null;
    current.embedding = name;
    current.view = null;
    showCurrent();
  }

  /** Gives where the answer lies; never, for an embedding that is not wanted any more. */
  async function addressOf({ what, name }) {
    if (what === "runs") return URL.createObjectURL(blobOfJson(["shared"]));
    if (what === "info") return URL.createObjectURL(blobOfJson(page.info));
    if (awaited !== null && name !== awaited) {
      if (what === "bookmarks") return URL.createObjectURL(blobOfJson([]));
      return new Promise(() => {});
    }
    const file = embeddings.get(name)?.files[what];
    if (!file) throw new Error(`there is no ${what} of ${name} in it`);
    return file.url ?? URL.createObjectURL(await blobOf(file));
  }

  const answered = { bookmarks: null };
  const request = XMLHttpRequest.prototype;
  const { open, send } = request;
  const routes = new WeakMap();

  request.open = function (method, address, ...rest) {
    const route = routeOf(address);
    if (route === null) return open.call(this, method, address, ...rest);
    routes.set(this, route);
  };

  request.send = function (body) {
    const route = routes.get(this);
    if (route === undefined) return send.call(this, body);
    noteRequest(route);
    addressOf(route).then((address) => {
      this.addEventListener("loadend", () => {
        if (address.startsWith("blob:")) URL.revokeObjectURL(address);
        if (route.what === "bookmarks" && route.name !== awaited) answered.bookmarks = route.name;
      });
      open.call(this, "GET", address);
      send.call(this);
    }, tellTrouble);
  };

  const source = Object.getOwnPropertyDescriptor(HTMLImageElement.prototype, "src");
  Object.defineProperty(HTMLImageElement.prototype, "src", {
    ...source,
    set(address) {
      const route = routeOf(address);
      if (route === null) source.set.call(this, address);
      else addressOf(route).then((found) => source.set.call(this, found), tellTrouble);
    },
  });

  // ---- which view ------------------------------------------------------------------------------

  /** Decodes what can be decoded: in a link written by hand a % may stand for itself. */
  function decode(text) {
    return text.replace(/(?:%[0-9a-f]{2})+/gi, (coded) => {
      try {
        return decodeURIComponent(coded);
      } catch {
        return coded;
      }
    });
  }

  /** Reads #view=TITLE&embedding=NAME in any order; an `&` in either need not be encoded. */
  function targetOf(hash) {
    const part = (key, other) => {
      const match = new RegExp(`[#&]${key}=(.*?)(?:&${other}=|$)`, "s").exec(hash);
      return match && decode(match[1]);
    };
    return { view: part("view", "embedding"), embedding: part("embedding", "view") };
  }

  function hashOf({ embedding, view }) {
    const parts = [];
    if (view !== null) parts.push(`view=${encodeURIComponent(view)}`);
    if (embedding !== null && embeddings.size > 1) {
      parts.push(`embedding=${encodeURIComponent(embedding)}`);
    }
    return `#${parts.join("&")}`;
  }

  function hasView(name, view) {
    return embeddings.get(name)?.views.includes(view) ?? false;
  }

  function chooseEmbedding({ embedding, view }, shown) {
    if (embeddings.has(embedding)) return embedding;
    if (view === null || hasView(shown, view)) return shown;
    return page.embeddings.find((one) => one.views.includes(view))?.name ?? shown;
  }

  function findViewer() {
    const dashboard = document.querySelector("vz-projector-dashboard");
    const viewer = dashboard?.shadowRoot?.querySelector("vz-projector");
    return viewer?.bookmarkPanel && viewer.dataPanel ? viewer : null;
  }

  function until(look) {
    return new Promise((done) => {
      const again = () => {
        const found = look();
        if (found) done(found);
        else setTimeout(again, 30);
      };
      again();
    });
  }

  /** Mends the viewer: opening an isolated view while more points are selected would break it. */
  function mend(viewer) {
    if (Object.hasOwn(viewer, "loadState")) return;
    const load = viewer.loadState;
    viewer.loadState = function (state) {
      this.notifySelectionChanged([]);
      load.call(this, state);
      current.view = state.label;
      showCurrent();
      const hash = hashOf(current);
      if (location.hash !== hash) history.replaceState(null, "", hash);
    };
  }

  /** A finished layout is shown at once: PCA, which nobody asked for, is left for its tab. */
  function skipSlowPca(viewer, name, view) {
    const [rows, columns] = embeddings.get(name).shape;
    if (hasView(name, view) && rows * columns > PCA_IS_SLOW) {
      viewer.projectionsPanel.disablePolymerChangesTriggerReprojection();
    }
  }

  function isLoaded(viewer, name) {
    const points = viewer.originalDataSet?.points;
    return (
      points?.length === embeddings.get(name).shape[0] &&
      (viewer.projection || viewer.projectionsPanel.polymerChangesTriggerReprojection === false)
    );
  }

  async function show(target) {
    const viewer = await until(findViewer);
    const panel = viewer.dataPanel;
    mend(viewer);
    const name = chooseEmbedding(target, await until(() => panel.selectedTensor));
    const isNew = !isLoaded(viewer, name);
    if (isNew) skipSlowPca(viewer, name, target.view);
    if (panel.selectedTensor !== name) panel.selectedTensor = name;
    const isLeft = () => panel.selectedTensor !== name;
    await until(() => isLeft() || isLoaded(viewer, name));
    if (target.embedding !== null && !embeddings.has(target.embedding)) {
      tell(`There is no embedding “${target.embedding}” here.`);
    }
    if (isLeft()) {
      if (viewer.projectionsPanel.polymerChangesTriggerReprojection === false) {
        viewer.projectionsPanel.enablePolymerChangesTriggerReprojection();
        viewer.projectionsPanel.showTab("pca");
      }
      return;
    }
    if (target.view === null) return;
    const bookmarks = viewer.bookmarkPanel;
    await until(() => isLeft() || answered.bookmarks === name || !hasView(name, target.view));
    const index = bookmarks.savedStates.findIndex((state) => state.label === target.view);
    if (index < 0) {
      tell(`There is no view “${target.view}” here.`);
      return;
    }
    bookmarks.clearStateSelection(); // to load a selected state is to deselect it
    bookmarks.loadSavedState(index);
    bookmarks.setSelectionState(index, true);
  }

  let turn = Promise.resolve();
  let latest = 0;

  /** One after the other, and of several that wait only the last. */
  function go(hash) {
    const mine = ++latest;
    tell("");
    turn = turn.then(() => (mine === latest ? show(targetOf(hash)) : null)).catch(tellTrouble);
  }

  window.addEventListener("hashchange", () => go(location.hash));

  // ---- the bar ---------------------------------------------------------------------------------

  const bar = document.getElementById("shared-bar");
  const links = [];

  function element(tag, className, text) {
    const made = document.createElement(tag);
    made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  }

  function addLink(list, embedding, view, text) {
    const link = element("a", view === null ? "shared-embedding" : "shared-view", text);
    link.href = hashOf({ embedding, view });
    link.title = text;
    link.addEventListener("click", () => {
      if (link.hash === location.hash) go(link.hash); // else the hash changes
    });
    links.push({ link, embedding, view });
    list.append(link);
  }

  function addButton(text, label, act) {
    const button = element("button", "shared-button", text);
    button.type = "button";
    button.title = label;
    button.setAttribute("aria-label", label);
    button.addEventListener("click", () => act(button));
    bar.append(button);
    return button;
  }

  function drawBar() {
    const list = element("nav", "shared-views");
    list.setAttribute("aria-label", "Views");
    for (const { name, views } of page.embeddings) {
      const group = element("div", "shared-group");
      if (embeddings.size > 1) addLink(group, name, null, name);
      else if (!views.length) group.append(element("span", "shared-embedding", name));
      for (const view of views) addLink(group, name, view, view);
      list.append(group);
    }
    bar.append(list, element("output", "shared-note"));
    const all = addButton("All views", "Show all views at once", () => {
      const isWide = bar.classList.toggle("shared-wide");
      all.textContent = isWide ? "One line" : "All views";
      measureViewer();
    });
    const showWhetherAllFit = () => {
      const isWide = bar.classList.contains("shared-wide");
      all.hidden = !isWide && list.scrollWidth <= list.clientWidth;
    };
    new ResizeObserver(showWhetherAllFit).observe(list);
    list.addEventListener("wheel", (event) => (list.scrollLeft += event.deltaY), { passive: true });
    addButton("Copy link", "Copy the link to what is shown", copyLink);
    addButton("ⓘ", "About this page", () => document.getElementById("shared-about").showModal());
    addButton("▴", "Fold this bar", fold);
    bar.hidden = false;
  }

  function showCurrent() {
    for (const { link, embedding, view } of links) {
      const isShown = embedding === current.embedding && view === current.view;
      if (isShown) {
        link.setAttribute("aria-current", "true");
        link.scrollIntoView({ block: "nearest", inline: "nearest" });
      } else link.removeAttribute("aria-current");
    }
  }

  function fold(button) {
    const isFolded = bar.classList.toggle("shared-folded");
    const label = isFolded ? "Show the views" : "Fold this bar";
    button.textContent = isFolded ? "▾" : "▴";
    button.title = label;
    button.setAttribute("aria-label", label);
    measureViewer();
  }

  /** The viewer measures its place only when the window changes. */
  function measureViewer() {
    window.dispatchEvent(new Event("resize"));
  }

  function tell(text) {
    bar.querySelector(".shared-note").textContent = text;
  }

  function tellTrouble(error) {
    console.error(error);
    tell(`This page cannot be shown: ${error.message}`);
  }

  async function copyLink(button) {
    const text = location.href.split("#")[0] + hashOf(current);
    let isCopied = true;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      isCopied = copyByHand(text); // no clipboard on pages that are not served securely
    }
    if (!isCopied) return;
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy link"), 1500);
  }

  function copyByHand(text) {
    const field = element("textarea", "shared-field", text);
    document.body.append(field);
    field.select();
    const isCopied = document.execCommand("copy");
    field.remove();
    if (!isCopied) window.prompt("Copy this link:", text);
    return isCopied;
  }

  // ---- begin -----------------------------------------------------------------------------------

  drawBar();
  if (page.viewer) {
    inflate(page.viewer.part)
      .text()
      .then((code) => {
        const script = document.createElement("script");
        script.textContent = code;
        document.body.append(script);
      })
      .catch(tellTrouble);
  }
  if (page.viewer || location.protocol !== "file:") go(location.hash);
  else tell("A browser opens this folder only from a web server: python -m http.server");
})();
