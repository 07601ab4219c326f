/* Chapters open where a link or a printer needs them, and the bar says which one is being read. */
"use strict";
(() => {
  const open = (target) => {
    for (let each = target; each; each = each.parentElement) if (each.tagName === "DETAILS") each.open = true;
    const own = target && target.querySelector(":scope > details");
    if (own) own.open = true;
  };
  const follow = () => {
    const target = /^#[a-z0-9-]+$/.test(location.hash) && document.getElementById(location.hash.slice(1));
    if (target) { open(target); target.scrollIntoView(); }
  };
  window.addEventListener("hashchange", follow);
  document.addEventListener("click", (event) => {
    const link = event.target.closest('a[href^="#"]');
    if (link && link.hash === location.hash) { event.preventDefault(); follow(); }
  });
  let closed = [];
  window.addEventListener("beforeprint", () => {
    const more = [...document.querySelectorAll("details:not([open], .further)")];
    for (const each of more) each.open = true;
    closed.push(...more);
  });
  window.addEventListener("afterprint", () => {
    for (const each of closed) each.open = false;
    closed = [];
  });
  const links = [...document.querySelectorAll(".topnav a")];
  const mark = () => {
    const passed = links.filter((link) => document.querySelector(link.hash).getBoundingClientRect().top < 120);
    const now = passed.at(-1) || links[0];
    for (const link of links) if (link === now) link.setAttribute("aria-current", "true"); else link.removeAttribute("aria-current");
  };
  new IntersectionObserver(mark, { rootMargin: "-110px 0px -60% 0px", threshold: [0, 1] }).observe(document.querySelector("main"));
  for (const link of links) new IntersectionObserver(mark, { rootMargin: "-110px 0px -60% 0px" }).observe(document.querySelector(link.hash));
  follow();
})();

/* The explorer: looks up the counts that were computed per threshold, and carries them to another prevalence.
   No statistic is computed here but the predictive values and the net benefit at a chosen prevalence. */
(() => {
  if (!document.getElementById("explorer-data")) return;
  const data = JSON.parse(document.getElementById("explorer-data").textContent);
  const byId = (id) => document.getElementById(id);
  const threshold = byId("threshold"), prevalence = byId("prevalence");
  const model = byId("model"), population = byId("population");
  const cells = ["true_positives", "false_positives", "false_negatives", "true_negatives"];
  const state = { point: null, own: true };

  /* Three decimals; exact ties (only odd sixteenths have one) to the even digit, as Python rounds them. */
  const fixed3 = (value) => {
    const sixteenths = value * 16;
    if (!Number.isInteger(sixteenths) || sixteenths % 2 === 0) return value.toFixed(3);
    const below = Math.floor(value * 1000);
    return ((below % 2 === 0 ? below : below + 1) / 1000).toFixed(3);
  };
  const minus = (text) => (Number(text) === 0 ? text.replace("-", "") : text.replace("-", "\u2212"));
  const number = (value) => minus(fixed3(value));
  const percent = (value) => minus((Math.round(Number(fixed3(value)) * 1000) / 10).toFixed(1)) + "%";
  const defined = (value) => value !== null && !Number.isNaN(value);
  const nearest = (value) => { // whole numbers, ties to even
    const down = Math.floor(value);
    return value - down === 0.5 ? down + (down % 2) : Math.round(value);
  };

  const chosen = () => data.populations[population.value].models[model.value];
  const own = () => data.populations[population.value].prevalence;

  /* The row of counts that holds at a step: the last one that starts at or before it. */
  const rowAt = (set, step) => {
    let low = 0, high = set.starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (set.starts[middle] <= step) low = middle; else high = middle - 1;
    }
    return low;
  };

  /* Everything that the page shows at one setting. */
  const read = () => {
    const set = chosen();
    const point = set.points.find((each) => each.name === state.point);
    const row = point ? point.row : rowAt(set, Math.round(Number(threshold.value) * 1000));
    const present = set.present, absent = set.absent;
    const found = set.true_positives[row], alarms = set.false_positives[row];
    const share = state.own ? own() : Number(prevalence.value);
    const at = point ? point.threshold : Number(threshold.value);
    const sensitivity = present ? found / present : null;
    const specificity = absent ? (absent - alarms) / absent : null;
    const bound = (name) => set.bounds[name] && set.bounds[name][row];
    const rates = {
      true_positives: found, false_positives: alarms,
      false_negatives: present - found, true_negatives: absent - alarms,
      sensitivity, specificity, ...carried(share, sensitivity, specificity, at),
    };
    if (state.own) { // as the 2x2 has them, to the last digit
      rates.ppv = found + alarms ? found / (found + alarms) : null;
      rates.npv = present + absent - found - alarms ? (absent - alarms) / (present + absent - found - alarms) : null;
    }
    return { set, row, point, at, share, rates, bound };
  };

  /* Bayes' theorem, and net benefit with the odds of the threshold as the price of a false alarm. */
  const carried = (share, sensitivity, specificity, at) => {
    const both = defined(sensitivity) && defined(specificity);
    const hit = both ? share * sensitivity : null, alarm = both ? (1 - share) * (1 - specificity) : null;
    const miss = both ? share * (1 - sensitivity) : null, clear = both ? (1 - share) * specificity : null;
    return {
      ppv: both && hit + alarm > 0 ? hit / (hit + alarm) : null,
      npv: both && miss + clear > 0 ? clear / (miss + clear) : null,
      net_benefit: both && at < 1 ? hit - alarm * (at / (1 - at)) : null,
    };
  };

  /* The interval of a predictive value at another prevalence: that of the likelihood ratio, carried there. */
  const carriedBounds = (name, now) => {
    if (state.own) return now.bound(name);
    const ratio = now.bound(name === "ppv" ? "lr_positive" : "lr_negative");
    if (!ratio || !defined(ratio[0])) return null;
    const odds = now.share / (1 - now.share);
    const after = ratio.map((each) => (defined(each) ? (each * odds) / (1 + each * odds) : 1));
    return name === "ppv" ? after : [1 - after[1], 1 - after[0]];
  };

  const show = (selector, text) => { document.querySelector(selector).textContent = text; };
  const between = (bounds, write) =>
    bounds && defined(bounds[0]) && defined(bounds[1])
      ? `${write(bounds[0])} to ${write(bounds[1])}` : "no interval";

  const showRates = (now) => {
    for (const name of cells) show(`[data-measure=${name}]`, String(now.rates[name]));
    for (const name of ["sensitivity", "specificity", "ppv", "npv"]) {
      const value = now.rates[name];
      show(`[data-measure=${name}]`, defined(value) ? percent(value) : "not defined");
      const bounds = name === "ppv" || name === "npv" ? carriedBounds(name, now) : now.bound(name);
      show(`[data-interval=${name}]`, defined(value) ? between(bounds, percent) : data.reasons[name]);
    }
    const benefit = now.rates.net_benefit;
    show("[data-measure=net_benefit]", defined(benefit) ? number(benefit) : "not defined");
    show("[data-interval=net_benefit]", defined(benefit) ? benefitWords(now) : data.reasons.net_benefit);
    for (const each of document.querySelectorAll("[data-carried]"))
      each.textContent = each.dataset.carried + (state.own ? "" : ` at ${percent(now.share)}`);
    show("#policies", policyWords(now));
    for (const name of ["lr_positive", "lr_negative"]) {
      const value = now.set[name][now.row];
      show(`[data-rate=${name}]`, defined(value) ? number(value) : "not defined");
      show(`[data-interval=${name}]`, defined(value) ? between(now.bound(name), number) : data.reasons[name]);
    }
  };

  const treatingAll = (now) => now.share - (1 - now.share) * (now.at / (1 - now.at));
  const perThousand = (value) => minus(String(nearest(1000 * value)));
  const benefitWords = (now) => `acting on all ${number(treatingAll(now))}`;

  /* Beside the policies that need no model, at the chosen prevalence; the lights know the cohort's alone. */
  const policyWords = (now) => {
    const benefit = now.rates.net_benefit, lead = `Net true positives per 1,000 at prevalence ${percent(now.share)}:`;
    if (!defined(benefit)) return `${lead} not defined here.`;
    const beside = (other) =>
      Math.abs(benefit - other) < 1e-9 ? "equal to" : benefit > other ? "better than" : "worse than";
    const all = treatingAll(now);
    return `${lead} ${perThousand(benefit)}, ${beside(all)} acting on all (${perThousand(all)}), ${beside(0)} on none.`;
  };

  /* Whole people out of 1,000 that add up. */
  const frequencies = (now) => {
    const present = nearest(1000 * now.share);
    const hit = nearest(1000 * now.share * (now.rates.sensitivity ?? 0));
    const alarm = nearest(1000 * (1 - now.share) * (1 - (now.rates.specificity ?? 1)));
    const found = Math.min(hit, present), alarms = Math.min(alarm, 1000 - present);
    return { found, missed: present - found, alarms, cleared: 1000 - present - alarms };
  };

  const sign = (call, place) => {
    const [x, y, outline] = data.shapes[call];
    return `M${(place % data.columns) * 10 + x} ${Math.floor(place / data.columns) * 10 + y}${outline}`;
  };

  const showPeople = (now) => {
    const counts = frequencies(now);
    let place = 0;
    for (const kind of ["found", "missed", "alarms", "cleared"]) {
      let commands = "";
      for (let each = 0; each < counts[kind]; each += 1, place += 1) commands += sign(kind, place);
      byId(`icons-${kind}`).setAttribute("d", commands);
      show(`[data-people=${kind}]`, String(counts[kind]));
    }
    const present = counts.found + counts.missed;
    return `Of 1,000 ${data.populations[byId("population").value].people}, ${present} have the condition${data.condition === "condition" ? "" : ` (${data.condition})`}: ` +
      `${counts.found} found, ${counts.missed} missed. ` +
      `Of the ${1000 - present} without it, ${counts.alarms} get a false alarm.`;
  };

  const showRoc = (now) => {
    byId("explorer-roc-line").setAttribute("d", now.set.roc);
    for (const each of document.querySelectorAll("[data-reader-on]"))
      each.classList.toggle("away", each.dataset.readerOn !== byId("population").value);
    const { sensitivity, specificity } = now.rates;
    const spot = byId("explorer-roc-spot");
    const there = defined(sensitivity) && defined(specificity);
    spot.classList.toggle("away", !there);
    if (!there) return;
    const { left, right, top, foot } = data.roc_frame;
    spot.setAttribute("transform", `translate(${(left + (1 - specificity) * (right - left)).toFixed(1)} ` +
      `${(foot - sensitivity * (foot - top)).toFixed(1)})`);
  };

  let telling, keeping;
  const later = (timer, task, wait) => { clearTimeout(timer); return setTimeout(task, wait); };

  let moved = false; // the address changes only once a hand has moved something
  const update = () => {
    const now = read();
    const at = now.point ? now.point.value : number(now.at);
    byId("threshold-value").textContent = at;
    byId("threshold-words").textContent = now.point ? now.point.words : "flagged where the risk is at or above it";
    byId("prevalence-value").textContent = percent(now.share) + (state.own ? " as here" : "");
    byId("cells-caption").textContent = `The ${data.populations[population.value].cases} cases`;
    threshold.setAttribute("aria-valuetext", now.point ? `${at}, ${now.point.words}` : at);
    prevalence.setAttribute("aria-valuetext", percent(now.share));
    showRates(now);
    showRoc(now);
    const sentence = showPeople(now);
    byId("frequencies").textContent = sentence;
    telling = later(telling, () => { byId("spoken").textContent = `${sentence} ${policyWords(now)}`; }, 600);
    if (moved) keeping = later(keeping, keep, 250);
    moved = true;
    for (const button of document.querySelectorAll("[data-point]")) {
      button.setAttribute("aria-pressed", String(button.dataset.point === state.point));
    }
    for (const button of document.querySelectorAll("[data-share]")) {
      const pressed = button.dataset.share === "own" ? state.own : !state.own && Number(button.dataset.share) === now.share;
      button.setAttribute("aria-pressed", String(pressed));
    }
  };

  /* The address's fragment holds the setting, so that it can be shared. */
  const keep = () => {
    const settings = new URLSearchParams({
      threshold: state.point ?? threshold.value,
      prevalence: state.own ? "own" : prevalence.value,
      model: model.value,
      population: population.value,
    });
    history.replaceState(null, "", `#${settings}`);
  };

  const restore = () => {
    if (!location.hash.includes("threshold=")) return false;
    const settings = new URLSearchParams(location.hash.slice(1));
    choose(population, settings.get("population"));
    offerModels();
    choose(model, settings.get("model"));
    offerPoints();
    const share = settings.get("prevalence"), at = settings.get("threshold");
    setShare(share !== null && share !== "own" && inRange(prevalence, share) ? share : "own");
    if (!setPoint(at) && inRange(threshold, at)) { state.point = null; threshold.value = at; }
    return true;
  };
  const inRange = (slider, text) =>
    text !== null && text.trim() !== "" && Number(text) >= Number(slider.min) && Number(text) <= Number(slider.max);
  const choose = (select, value) => {
    if ([...select.options].some((each) => each.value === value && !each.disabled)) select.value = value;
  };

  const setShare = (share) => {
    state.own = share === "own";
    prevalence.value = state.own ? own() : share;
  };
  const setPoint = (name) => {
    const point = chosen().points.find((each) => each.name === name);
    if (!point) return false;
    state.point = name;
    threshold.value = (Math.floor(point.threshold * 1000) / 1000).toFixed(3);
    return true;
  };

  /* Only what the chosen population and model have can be chosen. */
  const offerModels = () => {
    const there = data.populations[population.value].models;
    for (const each of model.options) each.disabled = !(each.value in there);
    if (!(model.value in there)) model.value = Object.keys(there)[0];
  };
  const offerPoints = () => {
    const there = chosen().points;
    for (const button of document.querySelectorAll("[data-point]")) {
      const point = there.find((each) => each.name === button.dataset.point);
      button.disabled = !point;
      button.textContent = point ? point.label : button.dataset.name;
    }
  };

  threshold.addEventListener("input", () => { state.point = null; update(); });
  prevalence.addEventListener("input", () => { state.own = false; update(); });
  /* Arrow keys move by a tenth of a percent where prevalence is low, by half a percent where it is not. */
  prevalence.addEventListener("keydown", (event) => {
    const direction = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
    if (!direction) return;
    event.preventDefault();
    const value = Number(prevalence.value), step = value + direction * 1e-9 < 0.05 ? 0.001 : 0.005;
    prevalence.value = (Math.round(value / step + direction) * step).toFixed(3);
    prevalence.dispatchEvent(new Event("input", { bubbles: true }));
  });
  for (const button of document.querySelectorAll("[data-point]")) {
    button.addEventListener("click", () => { setPoint(button.dataset.point); update(); });
  }
  for (const button of document.querySelectorAll("[data-share]")) {
    button.addEventListener("click", () => { setShare(button.dataset.share); update(); });
  }
  const changed = () => {
    offerModels();
    offerPoints();
    if (state.own) setShare("own");
    if (state.point && !setPoint(state.point)) state.point = null;
    update();
  };
  for (const select of [model, population]) {
    select.addEventListener("input", changed);
    select.addEventListener("change", changed);
  }
  window.addEventListener("hashchange", () => { if (restore()) update(); });

  offerModels();
  offerPoints();
  setShare("own");
  if (!setPoint(data.opens_at)) threshold.value = "0.5";
  const shared = restore();
  update();
  document.documentElement.classList.add("ready");
  if (shared) byId("explorer").scrollIntoView({ block: "nearest" });
})();
