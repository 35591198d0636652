"use strict";
// Ties texts to shapes: what is pointed at, focused or tapped lights up together with its counterparts in its card.
(() => {
  const numbers = (element) => element.dataset.shapes.split(" ");
  let pinned = null;
  let lit = [];

  const clear = () => {
    for (const element of lit) element.classList.remove("lit");
    for (const label of document.querySelectorAll(".label.shown")) {
      label.classList.remove("shown");
      label.textContent = "";
    }
    lit = [];
  };

  const light = (element) => {
    clear();
    const card = element.closest(".card");
    const wanted = new Set(numbers(element));
    for (const other of card.querySelectorAll("[data-shapes]")) {
      if (numbers(other).some((number) => wanted.has(number))) lit.push(other);
    }
    for (const other of lit) other.classList.add("lit");
    const titles = lit.filter((other) => other.matches("polygon")).map((other) => other.textContent);
    const label = card.querySelector(".label");
    if (label && titles.length) {
      label.textContent = titles.join(" · ");
      label.classList.add("shown");
    }
  };

  const find = (event) => (event.target instanceof Element ? event.target.closest("[data-shapes]") : null);
  const restore = () => (pinned ? light(pinned) : clear());

  document.addEventListener("pointerover", (event) => {
    const element = find(event);
    if (element) light(element);
    else if (lit.length) restore();
  });
  document.addEventListener("focusin", (event) => {
    const element = find(event);
    if (element) light(element);
  });
  document.addEventListener("focusout", restore);
  document.addEventListener("click", (event) => {
    const element = find(event);
    pinned = element && element !== pinned ? element : null;
    restore();
  });
  document.addEventListener("keydown", (event) => {
    const element = find(event);
    if (event.key === "Escape") {
      pinned = null;
      clear();
    } else if (element && (event.key === "Enter" || event.key === " ")) {
      event.preventDefault();
      pinned = element === pinned ? null : element;
      light(element);
    }
  });
  document.addEventListener("change", (event) => {
    const layer = event.target.dataset.layer;
    if (layer) document.body.classList.toggle(`without-${layer}`, !event.target.checked);
  });
})();
