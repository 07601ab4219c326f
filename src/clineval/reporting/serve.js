/* The page of clineval serve: sends images to the program that served it and shows what it answers.
   No statistic is computed here but the predictive values at a chosen prevalence. */
"use strict";
(async () => {
  const byId = (id) => document.getElementById(id);
  const make = (tag, properties = {}, ...inside) => {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...inside);
    return made;
  };
  const png = (data) => `data:image/png;base64,${data}`;
  const percent = (value, digits = 1) => `${(100 * value).toFixed(digits)}%`;
  const digits = (risk) => risk.toFixed(3); // of every risk and threshold
  const defined = (value) => value !== null && value !== undefined && Number.isFinite(value);
  const BATCH = 20; // images sent together, so that progress shows
  const SHARES = [0.005, 0.01, 0.02, 0.05, 0.1, 0.2];

  const complain = (line) => { byId("trouble").textContent = line; byId("trouble").hidden = !line; };
  const tell = (line, shown = line) => { byId("spoken").textContent = line; byId("progress").textContent = shown; };
  const SOURCES = { train_out_of_fold: "by cross-validation in the training data", val: "on validation data" };
  /* What a threshold was chosen for; the exact rule stands with the other thresholds. */
  const inWords = (rule) => {
    const [, target, source] = /^the largest threshold that reaches sensitivity ([0-9.]+) on (train_out_of_fold|val)$/.exec(rule) || [];
    const sought = condition === "condition" ? "cases with the condition" : `${condition} cases`;
    return target ? `the threshold was chosen to find ${Math.round(100 * target)}% of the ${sought} (${SOURCES[source]})` : rule;
  };

  const asked = async (address, options) => {
    let answer;
    try { answer = await fetch(address, options); } catch (error) {
      throw new Error("The program does not answer, or the file cannot be read (is it a folder?).");
    }
    const content = await answer.json().catch(() => ({ error: `The program answered ${answer.status}.` }));
    if (!answer.ok) throw Object.assign(new Error(content.error), { status: answer.status });
    return content;
  };

  let model;
  try { model = await asked("/api/model"); } catch (error) { complain(error.message); return; }
  const main = model.primary.model, condition = model.condition;
  const first = model.models[main].find((each) => each.threshold === model.primary.threshold);
  const own = model.cases ? model.events / model.cases : null;
  const state = { items: [], shown: null, own: defined(own), share: own ?? 0.1, sort: ["place", 1], turn: 0 };

  /* What the page says of the run ------------------------------------------------------------------- */

  byId("title").textContent = `Predicted risk of an image: ${condition}`;
  byId("about").textContent = `Models trained on ${model.data_title || "images"}, ${model.side} × ${model.side} pixels; primary model: ${main}`;
  byId("main-model").textContent = `${main}, the primary model`;
  byId("notice").textContent = model.notice;
  byId("notice").hidden = !model.notice;
  byId("report-there").hidden = !model.report;
  byId("adoption-there").hidden = byId("adoption-link").hidden = !model.adoption_page;
  byId("origin").textContent = `${model.program} · run ${model.provenance_sha256.slice(0, 12)} (SHA-256 of its provenance) · nothing is stored`;

  /* What a flag meant -------------------------------------------------------------------------------- */

  /* Bayes' theorem: of those flagged (or not), the share that has the condition. */
  const carried = (flag, share) => {
    const present = first.true_positives + first.false_negatives, absent = first.false_positives + first.true_negatives;
    if (!present || !absent) return null;
    const sensitivity = first.true_positives / present, specificity = first.true_negatives / absent;
    const ill = share * (flag ? sensitivity : 1 - sensitivity), well = (1 - share) * (flag ? 1 - specificity : specificity);
    return ill + well > 0 ? ill / (ill + well) : null;
  };

  /* The interval there: that of the likelihood ratio, carried to the prevalence; at the test set's own, as stored. */
  const bounds = (flag) => {
    const stored = flag ? first.ppv : first.npv && [1 - first.npv[1], 1 - first.npv[0]];
    if (state.own) return stored;
    const ratio = flag ? first.lr_positive : first.lr_negative, odds = state.share / (1 - state.share);
    if (!ratio || !defined(ratio[0])) return null;
    return ratio.map((each) => (defined(each) ? (each * odds) / (1 + each * odds) : 1));
  };

  /* Counted among 100, or among so many more that a rare share is not rounded to none. */
  const base = (value, range) => {
    const [low, high] = range || [value, value];
    const rare = Math.min(...[value, 1 - value, high, 1 - low].filter((each) => each > 0));
    return [100, 1000, 10000].find((of) => of * rare >= 1) ?? 10000;
  };
  const countOf = (value, of) => {
    const count = of * value;
    return count > 0 && count < 1 ? "fewer than 1" : count > of - 1 && count < of ? `more than ${whole(of - 1)}` : whole(Math.round(count));
  };
  const whole = (count) => count.toLocaleString("en");

  /* Whose test set it is, beside every number of it: the image may come from elsewhere. */
  const named = model.data_title || "the run";
  const images = model.population === "test" ? `test images of ${named}` : `images of ${model.population}`;
  const set = model.population === "test" ? `the test set of ${named}` : model.population;

  const adoption = model.adoption, isScored = Boolean(first) && defined(first.true_positives);
  byId("meaning-h").textContent = adoption ? `What the threshold did in ${adoption.site}` : set ? `What that meant on ${set}` : "What a flag means";

  /* What cross-fitting on the site's own cases gave. */
  const inAdoption = ({ site, level, sensitivity, specificity }) => {
    if (!sensitivity || !specificity) return `What the threshold does in ${site} is not known: too few local cases.`;
    const [found, low, high] = sensitivity.map((each) => Math.round(100 * each));
    const [alarms, most, least] = specificity.map((each) => Math.round(100 * (1 - each)));
    return `In ${site}, on local patients not used for fitting: found ${found} of 100 with the condition (${Math.round(100 * level)}% CI ${low} to ${high}), ${alarms} false alarms per 100 others (${least} to ${most}).`;
  };

  const meaning = (flag) => {
    if (adoption) return inAdoption(adoption);
    if (!isScored) return "This threshold was not scored on a test set here, so nothing is known of what it means.";
    const hit = flag ? first.true_positives : first.false_negatives;
    const all = hit + (flag ? first.false_positives : first.true_negatives);
    const word = flag ? "flagged" : "not flagged";
    const whose = `These are figures of the ${images}. In another hospital they may be several times worse; only clineval validate can say.`;
    const counted = `${whose} Of the ${model.cases} ${images}, ${all} were ${word}; ${hit} of these had the condition (${condition}).`;
    const value = all && state.own ? hit / all : carried(flag, state.share);
    if (!defined(value)) return `${counted} What that means at this prevalence is not defined.`;
    const found = bounds(flag), range = found && defined(found[0]) && defined(found[1]) ? found : null;
    const of = base(value, range);
    const between = range ? ` (${Math.round(100 * model.level)}% CI ${countOf(range[0], of)} to ${countOf(range[1], of)})` : "";
    const count = `${countOf(value, of)}${between}`;
    return state.own
      ? `${counted} Of ${whole(of)} ${word} there, ${count} had it, at the prevalence of ${set}, ${percent(own)}.`
      : `${counted} Of ${whole(of)} ${word}, ${count} would have it at a prevalence of ${percent(state.share)}.`;
  };

  const showMeaning = () => {
    const item = state.shown, unreliable = Boolean(item) && isUnreliable(item.look);
    byId("prevalence").value = state.share;
    byId("prevalence-value").textContent = percent(state.share);
    byId("prevalence").setAttribute("aria-valuetext", percent(state.share));
    for (const each of byId("shares").children) {
      const pressed = each.dataset.share === "own" ? state.own : !state.own && Number(each.dataset.share) === state.share;
      each.setAttribute("aria-pressed", String(pressed));
    }
    if (item) byId("meaning").textContent = unreliable ? "Not given for this image: see the warning above." : meaning(isFlagged(item.prediction));
    byId("carry").hidden = unreliable || !isScored;
    const settings = new URLSearchParams({ threshold: first ? first.name : model.primary.threshold, prevalence: state.own ? "own" : state.share, model: main, population: model.population });
    byId("report-link").href = `/report#${settings}`;
  };

  const setShare = (share) => {
    state.own = share === "own";
    state.share = state.own ? own : Number(share);
    showMeaning();
  };
  byId("prevalence").max = Math.max(0.5, own ?? 0);
  byId("prevalence").addEventListener("input", (event) => setShare(event.target.value));
  /* Arrow keys move by a tenth of a percent where prevalence is low, by half a percent where it is not. */
  byId("prevalence").addEventListener("keydown", (event) => {
    const direction = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
    if (!direction) return;
    event.preventDefault();
    const step = state.share + direction * 1e-9 < 0.05 ? 0.001 : 0.005;
    const most = Number(event.target.max);
    setShare(Math.min(most, Math.max(0.001, Number((Math.round(state.share / step + direction) * step).toFixed(3)))));
  });
  for (const share of [...SHARES, ...(defined(own) ? ["own"] : [])]) {
    const button = make("button", { type: "button", textContent: share === "own" ? `as on ${set}` : `${100 * share}%` });
    button.dataset.share = share;
    button.addEventListener("click", () => setShare(share));
    byId("shares").append(button);
  }

  /* One image ---------------------------------------------------------------------------------------- */

  const isFlagged = (prediction) => prediction.risk[main] >= model.primary.threshold;
  /* Warnings after which a risk says nothing of the image. */
  const isSerious = (warned) => model.serious.includes(warned.code);
  const isUnreliable = (look) => look.warnings.some(isSerious);
  const called = (flag, look) => (flag ? "flagged" : "not flagged") + (isUnreliable(look) ? "; do not rely on it" : "");

  const showPictures = (look, name) => {
    const picture = byId("picture"), [left, upper, right, lower] = look.box;
    picture.src = png(look.picture);
    picture.alt = `${name} as sent`;
    picture.parentElement.classList.toggle("small", Math.max(look.width, look.height) < 160);
    const place = byId("cut").style; // the part that is scored; of a padded image all of it
    place.left = percent(Math.max(0, left) / look.width);
    place.top = percent(Math.max(0, upper) / look.height);
    place.width = percent(Math.min(look.width, right - Math.max(0, left)) / look.width);
    place.height = percent(Math.min(look.height, lower - Math.max(0, upper)) / look.height);
    byId("cut").hidden = look.width === look.height;
    const framed = look.second ? "; the frame is the middle square; the upper one is scored, too, and the mean of both taken" : "; the frame is what is scored";
    byId("picture-words").textContent = `As sent, in grey: ${look.width} × ${look.height} pixels${look.width === look.height ? "" : framed}`;
    byId("square").src = png(look.square);
    byId("square").parentElement.classList.toggle("fine", model.side >= 112);
    byId("square-words").textContent = `What the models see: ${model.side} × ${model.side} pixels`;
  };

  const showWarnings = (look) => {
    const ordered = [...look.warnings.filter(isSerious), ...look.warnings.filter((each) => !isSerious(each))];
    const lines = ordered.map((each) => (isSerious(each)
      ? make("p", { className: "warning" }, make("strong", { textContent: "Warning: " }), each.text)
      : make("p", { className: "warning remark", textContent: `Note: ${each.text}` })));
    byId("warnings").replaceChildren(...(lines.length ? lines : [make("p", { className: "clear", textContent: "No warning was raised: like the training images, not one of them, no burnt-in marks found. That does not prove that the image is suitable." })]));
  };

  const showScale = (prediction) => {
    const risk = prediction.risk[main], scale = byId("scale"), threshold = model.primary.threshold;
    const at = (value, css, text) => {
      const mark = make("span", { className: css, textContent: text });
      mark.style.left = percent(value, 2);
      return mark;
    };
    const above = make("span", { className: "above" });
    above.style.left = percent(threshold, 2);
    const ticks = model.models[main].map((each) => {
      const isFirst = each.threshold === threshold;
      return at(each.threshold, isFirst ? "tick-of first" : "tick-of", isFirst ? `threshold ${digits(each.threshold)}` : digits(each.threshold));
    });
    scale.replaceChildren(make("span", { className: "line-of" }), above, ...ticks, at(risk, "at", digits(risk)));
    scale.setAttribute("aria-label", `Risk ${digits(risk)} on a scale from 0 to 1, flagged at ${digits(threshold)} or above`);
  };

  const showNearest = (look) => {
    byId("nearest").replaceChildren(...look.nearest.map((each) => {
      const words = each.outcome === null ? "label not known here" : each.outcome ? condition : `not ${condition}`;
      const image = each.picture
        ? make("img", { src: png(each.picture), alt: `Training image ${each.case}, ${words}`, width: 112, height: 112 })
        : make("div", { className: "none", textContent: "picture not on this computer" });
      const caption = make("figcaption", {}, make("b", { textContent: words }), `similarity ${each.similarity.toFixed(2)}, ${each.case}`);
      return make("figure", { className: "tile" }, image, caption);
    }));
    byId("near").hidden = !look.nearest.length;
  };

  /* sensitivity_92_5 was set for 92.5%. */
  const pointInWords = (name) => (name === "half" ? "default" : name.replace(/^sensitivity_(\d+)(?:_(\d+))?$/, (_, units, decimals) => `set for ${decimals ? `${units}.${decimals}` : units}% sensitivity`));

  const showOthers = ({ prediction, look }) => {
    const rows = Object.entries(model.models).flatMap(([name, points]) => points.map((point) => {
      const cells = [digits(prediction.risk[name]), `${digits(point.threshold)} (${pointInWords(point.name)})`, called(prediction.risk[name] >= point.threshold, look)];
      return make("tr", {}, make("th", { scope: "row", textContent: name }), ...cells.map((textContent) => make("td", { textContent })));
    }));
    byId("models").tBodies[0].replaceChildren(...rows);
  };

  const showOne = (item) => {
    state.shown = item;
    const { prediction, look } = item;
    byId("one-h").textContent = item.name;
    showPictures(look, item.name);
    showWarnings(look);
    const call = called(isFlagged(prediction), look);
    byId("risk").textContent = digits(prediction.risk[main]);
    byId("risk").parentElement.classList.toggle("muted", isUnreliable(look));
    byId("call").textContent = `${call} (threshold ${digits(model.primary.threshold)})`;
    const rule = adoption ? `the threshold was ${adoption.rule}` : first && first.rule ? inWords(first.rule) : "";
    byId("rule").textContent = rule ? `Flagged means a risk at or above the threshold: ${rule}.` : "Flagged means a risk at or above the threshold.";
    byId("rule-exactly").textContent = first && first.rule ? `Exactly: ${first.rule.replace("train_out_of_fold", "training data, out of fold").replace(/ on val$/, " on validation data")}.` : "";
    showScale(prediction);
    showNearest(look);
    showOthers(item);
    byId("one").hidden = false;
    showMeaning();
    byId("map-shown").replaceChildren();
    byId("show-map").disabled = false;
    const warned = look.warnings.map((each) => `${isSerious(each) ? "Warning" : "Note"}: ${each.text} `).join("");
    tell(`${warned}Risk ${digits(prediction.risk[main])}, ${call}.`, "");
  };

  const open = async (item) => {
    const turn = ++state.turn;
    complain("");
    tell(`Scoring ${item.name}`);
    try {
      await score([item], true);
      if (turn !== state.turn) return;
      if (item.reason) throw new Error(`${item.name}: ${item.reason}`);
      showOne(item);
      if (!byId("many").hidden) byId("one-h").focus();
    } catch (error) {
      if (turn !== state.turn) return;
      byId("one").hidden = true;
      tell("");
      complain(error.message);
    }
  };

  /* Maps -------------------------------------------------------------------------------------------- */

  const drawn = (tag, attributes, ...inside) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...inside);
    return made;
  };
  const points = (change) => `${change > 0 ? "+" : change < 0 ? "\u2212" : ""}${Math.abs(100 * change).toFixed(1)}`;

  const largestOf = (changes) => Math.max(...changes.flat().map(Math.abs)) || 1;

  /* One map over its square: colour for the sign, strongest at its own largest change, hatched where the part
     lowers the risk, extremes as numbers.
     A grey one, not to be read, has neither hatches nor numbers. */
  const mapOf = (changes, found, grey, name) => {
    const largest = largestOf(changes), side = model.side, step = found.stride, cells = changes.flatMap((line, y) => line.map((change, x) => ({ change, x: x * step, y: y * step })));
    const hatch = drawn("pattern", { id: `hatch-${name.length}`, width: side / 28, height: side / 28, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" }, drawn("rect", { class: "stroke", width: side / 112, height: side / 28 }));
    const map = drawn("svg", { viewBox: `0 0 ${side} ${side}`, role: "img", class: grey ? "map grey" : "map" }, drawn("defs", {}, hatch), drawn("image", { href: png(found.square), width: side, height: side }));
    for (const each of cells) {
      const share = Math.min(1, Math.abs(each.change) / largest), box = { x: each.x, y: each.y, width: step, height: step };
      if (share < 0.02) continue;
      map.append(drawn("rect", { ...box, class: each.change > 0 ? "raises" : "lowers", "fill-opacity": (0.75 * share).toFixed(3) }));
      if (!grey && each.change < 0 && share > 1 / 3) map.append(drawn("rect", { ...box, fill: `url(#hatch-${name.length})` }));
    }
    map.setAttribute("aria-label", `${name}: not to be read`);
    if (grey) return map;
    const most = cells.reduce((one, other) => (other.change > one.change ? other : one)), least = cells.reduce((one, other) => (other.change < one.change ? other : one));
    for (const [each, sign] of [[most, "▲"], [least, "▼"]]) {
      if (each.change === 0 || (each.change > 0) !== (sign === "▲")) continue;
      const inner = each.x + step / 2 < side / 2;
      map.append(drawn("text", { x: each.x + step / 2, y: each.y + step / 2, class: "extreme", "font-size": side / 16, "text-anchor": inner ? "start" : "end" }, `${sign} ${points(each.change)}`));
    }
    map.setAttribute("aria-label", `${name}: the risk changes by ${points(Math.max(0, most.change))} to ${points(Math.min(0, least.change))} percentage points`);
    return map;
  };

  const checkedWords = (check) => {
    const said = (value) => (defined(value) ? value.toFixed(2).replace("-", "\u2212") : "not defined");
    const marks = defined(check.marks) ? ` ${percent(check.marks, 0)} of the map lies on text or marks burnt in, on ${percent(check.marks_area, 0)} of the area.` : "";
    return `Rank correlation with the maps of models with random weights ${said(check.agreement)}, with that of the image moved by one pixel ${said(check.stability)}.${marks}`;
  };

  /* Why the risk under a map may differ from the one above. */
  const mappedRisk = (found, { prediction, look }) => {
    const above = digits(prediction.risk[main]), here = digits(found.risk);
    if (above === here) return `By ${found.model}.`;
    const other = look.second ? `, which is averaged with that of the upper square to the ${above} above` : "";
    return `By ${found.model}, of the middle square alone: its risk is ${here}${other}.`;
  };

  const mapVerdict = (check, look) => {
    const warning = (strong, line) => make("p", { className: "warning" }, make("strong", { textContent: strong }), line);
    if (!check.passed) return warning("Not to be read: ", `${check.reason}.`);
    if (isUnreliable(look)) return warning("Warning: ", "the map passed its check, but the warning above holds for it too: do not rely on it.");
    return make("p", { className: "clear", textContent: "It passed its check." });
  };

  const showMap = (found, item) => {
    const { check } = found, strongest = (changes) => (check.passed ? `; strongest colour: ${(100 * largestOf(changes)).toFixed(1)} percentage points` : "");
    const figure = (changes, words, name) => make("figure", {}, mapOf(changes, found, !check.passed, name), make("figcaption", { textContent: words + strongest(changes) }));
    const figures = [figure(found.map, check.passed ? "Its map" : "Its map: not to be read", "Map")];
    if (found.randomised) figures.push(figure(found.randomised, "The same with random weights", "Map of random weights"));
    const key = check.passed ? `Plain orange: the part raises the risk; hatched blue: it lowers it. ` : "";
    byId("map-shown").replaceChildren(mapVerdict(check, item.look), make("div", { className: "maps" }, ...figures),
      make("p", { className: "help", textContent: `${key}${mappedRisk(found, item)} ${checkedWords(check)}` }));
  };

  byId("show-map").addEventListener("click", async () => {
    const item = state.shown, form = new FormData();
    form.append("images", item.file, item.name);
    byId("show-map").disabled = true;
    tell("Computing the map");
    try {
      const found = await asked("/api/explain", { method: "POST", body: form });
      if (item !== state.shown) return;
      showMap(found, item);
      tell(`Map: ${byId("map-shown").firstChild.textContent}`, "");
    } catch (error) {
      tell("");
      complain(error.message);
      byId("show-map").disabled = false;
    }
  });

  /* Many images -------------------------------------------------------------------------------------- */

  /* Asks the program about some images, and keeps with each what it says, or why it cannot be used. */
  const score = async (items, pictures = false) => {
    const form = new FormData();
    for (const each of items) form.append("images", each.file, each.name);
    try {
      const said = await asked(`/api/examine?skip_unreadable=true&pictures=${pictures}`, { method: "POST", body: form });
      for (const [row, look] of said.images.entries())
        Object.assign(items[look.place], { look, prediction: said.predictions.images[row], reason: "" });
      const bad = items.filter((_, place) => !said.images.some((look) => look.place === place));
      for (const [row, each] of bad.entries()) each.reason = said.predictions.unreadable[row].reason;
    } catch (error) {
      if (items.length > 1 && error.status === 422) for (const each of items) await score([each], pictures);
      else if (items.length === 1 && (error.status === 422 || !error.status)) items[0].reason = error.message.replace(`1 of 1 images cannot be used: ${items[0].name}: `, "").replace(/\.$/, "");
      else throw error;
    }
  };

  const batches = (items) => {
    const found = [];
    let bytes = Infinity;
    for (const each of items) {
      bytes += each.file.size + 4096;
      if (bytes > model.limits.sent || found.at(-1).length >= Math.min(BATCH, model.limits.files)) { found.push([]); bytes = each.file.size + 4096; }
      found.at(-1).push(each);
    }
    return found;
  };

  const COLUMNS = [
    ["name", "File", (item) => item.name],
    ["warnings", "Warnings", (item) => (item.reason ? 99 : 10 * item.look.warnings.filter(isSerious).length + item.look.warnings.length)],
    ["risk", "Risk", (item) => (item.reason ? -1 : item.prediction.risk[main])],
    ["flagged", "Flagged", (item) => (item.reason ? -1 : Number(isFlagged(item.prediction)))],
    ["place", "No.", (item) => item.place],
  ];

  /* A name that may wrap after its points, lines and spaces. */
  const breakable = (name) => name.split(/(?<=[-_. ])/).flatMap((part) => [part, make("wbr")]);

  const row = (item) => {
    const name = make("button", { type: "button", disabled: Boolean(item.reason) }, ...breakable(item.name));
    name.addEventListener("click", () => open(item));
    const image = item.reason ? "" : make("img", { src: png(item.look.square), alt: "", width: 48, height: 48 });
    const warned = item.reason
      ? [`cannot be used: ${item.reason}`]
      : item.look.warnings.map((each) => model.warnings[each.code]);
    const words = warned.length > 1 ? [make("ul", {}, ...warned.map((textContent) => make("li", { textContent })))] : warned.length ? warned : ["none"];
    return make("tr", { className: !item.reason && isUnreliable(item.look) ? "muted" : "" },
      make("td", {}, image, name),
      make("td", {}, ...words),
      make("td", { className: "number", textContent: item.reason ? "–" : digits(item.prediction.risk[main]) }),
      make("td", { textContent: item.reason ? "–" : called(isFlagged(item.prediction), item.look) }),
      make("td", { className: "number", textContent: item.place + 1 }));
  };

  const showRows = () => {
    const [key, direction] = state.sort, value = COLUMNS.find((each) => each[0] === key)[2];
    const compare = (one, other) => (typeof one === "string" ? one.localeCompare(other, undefined, { numeric: true }) : one - other);
    const done = state.items.filter((each) => each.look || each.reason);
    done.sort((one, other) => direction * compare(value(one), value(other)) || one.place - other.place);
    byId("rows").tBodies[0].replaceChildren(...done.map(row));
    for (const each of byId("rows").tHead.querySelectorAll("th[data-key]")) {
      if (each.dataset.key === key) each.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
      else each.removeAttribute("aria-sort");
    }
  };

  for (const [key, words] of COLUMNS) {
    const button = make("button", { type: "button", textContent: words });
    const head = make("th", { scope: "col" }, button);
    head.dataset.key = key;
    button.addEventListener("click", () => { state.sort = [key, state.sort[0] === key ? -state.sort[1] : 1]; showRows(); });
    byId("rows").tHead.rows[0].append(head);
  }

  const cell = (value) => (/[",\n\r]/.test(value) ? `"${String(value).replaceAll('"', '""')}"` : String(value));
  const safe = (name) => (/^[=+\-@\t\r]/.test(name) ? `./${name}` : name); // no spreadsheet computes it

  const asTable = () => {
    const points = Object.entries(model.models).flatMap(([name, all]) => all.map((point) => [name, point]));
    const header = ["image", "warnings", ...Object.keys(model.models).map((name) => `risk_${name}`), ...points.map(([name, point]) => `flagged_${name}_${point.name}`), "reason"];
    const lines = state.items.filter((each) => each.look || each.reason).map((item) => [
      safe(item.name),
      item.reason ? "" : item.look.warnings.map((each) => each.code).join(" "),
      ...Object.keys(model.models).map((name) => (item.reason ? "" : item.prediction.risk[name])),
      ...points.map(([name, point]) => (item.reason ? "" : Number(item.prediction.risk[name] >= point.threshold))),
      item.reason || "",
    ]);
    return [header, ...lines].map((line) => line.map(cell).join(",")).join("\n") + "\n";
  };

  byId("save").addEventListener("click", () => {
    const link = make("a", { href: URL.createObjectURL(new Blob([asTable()], { type: "text/csv" })), download: "risks.csv" });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });

  const scoreMany = async (items) => {
    const turn = ++state.turn, most = model.limits.bytes;
    byId("one").hidden = true;
    byId("many").hidden = false;
    byId("many-h").textContent = `${items.length.toLocaleString("en")} images`;
    byId("rows").tBodies[0].replaceChildren();
    for (const each of items) if (each.file.size > most) each.reason = `it has ${each.file.size.toLocaleString("en")} bytes, more than ${most.toLocaleString("en")}`;
    let done = items.filter((each) => each.reason).length;
    try {
      for (const batch of batches(items.filter((each) => !each.reason))) {
        await score(batch);
        if (turn !== state.turn) return;
        done += batch.length;
        byId("progress").textContent = `${done} of ${items.length} images`;
        showRows();
      }
    } catch (error) { complain(error.message); }
    showRows();
    const good = items.filter((each) => each.look && !each.reason);
    const warned = good.filter((each) => isUnreliable(each.look)).length;
    const noted = good.filter((each) => each.look.warnings.length && !isUnreliable(each.look)).length;
    tell(`${good.length} of ${items.length} images scored, ${warned} with warnings, ${noted} with notes only; ${good.filter((each) => isFlagged(each.prediction)).length} flagged.`);
  };

  const take = (files) => {
    if (!files.length) return;
    complain("");
    state.sort = ["place", 1];
    state.items = [...files].map((file, place) => ({ file, place, name: file.name, reason: "" }));
    if (state.items.length > 1) { scoreMany(state.items); return; }
    byId("many").hidden = true;
    open(state.items[0]);
  };

  /* The field keeps the names that it shows, yet takes the same file again. */
  let kept = null;
  byId("files").addEventListener("click", (event) => { kept = new DataTransfer(); for (const each of event.target.files) kept.items.add(each); event.target.value = ""; });
  byId("files").addEventListener("cancel", (event) => { event.target.files = kept.files; });
  byId("files").addEventListener("change", (event) => take([...event.target.files]));
  for (const kind of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(kind, (event) => {
      event.preventDefault();
      byId("drop").classList.toggle("over", kind === "dragover");
      if (kind !== "drop" || !event.dataTransfer.files.length) return;
      byId("files").files = event.dataTransfer.files;
      take([...event.dataTransfer.files]);
    });
  }
  setShare(defined(own) ? "own" : 0.1);
  document.documentElement.classList.add("ready");
})();
