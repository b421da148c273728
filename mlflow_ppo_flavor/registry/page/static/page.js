// The filter works by typing: the page of the answer replaces the results, and the URL keeps what was typed.
// Without this file the form does the same with its button.
"use strict";

const form = document.getElementById("filter");
let waiting = 0;
let asking = null;

async function show() {
  const asked = new URL(form.action);
  // a login in the page's own address is refused in one that is fetched
  asked.username = asked.password = "";
  for (const [name, value] of new FormData(form)) {
    if (value) asked.searchParams.set(name, value);
  }
  if (asking) asking.abort();
  asking = new AbortController();
  const results = document.getElementById("results");
  results.setAttribute("aria-busy", "true");
  try {
    const answer = await fetch(asked, { signal: asking.signal });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const found = page.getElementById("results") || page.querySelector("main > *");
    found.id = "results";
    // a status is read out only where it changes in place
    const status = document.getElementById("count");
    const told = found.querySelector("#count");
    results.replaceChildren(...found.childNodes);
    if (status && told) {
      results.querySelector("#count").replaceWith(status);
      status.textContent = told.textContent;
    }
    results.removeAttribute("aria-busy");
    history.replaceState(null, "", asked.pathname + asked.search);
  } catch (error) {
    if (error.name !== "AbortError") form.submit();
  }
}

if (form) {
  form.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(show, 200);
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    clearTimeout(waiting);
    show();
  });
  // what was typed before this file was here, or what the browser filled in again
  if ([...form.querySelectorAll("input")].some((input) => input.value !== input.defaultValue)) show();
}
