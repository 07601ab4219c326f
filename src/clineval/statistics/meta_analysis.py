"""How much sites differ: a random-effects summary of one estimate per site."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import chdtrc, chdtri, expit, gammaln, logit, ndtr, stdtrit

from clineval.statistics.counts import Floats, takes_series
from clineval.statistics.intervals import Estimate, normal_quantile, quantile_by_group, undefined

SCALES = ("logit", "log", "identity")
ESTIMATORS = {"reml": "REML", "dersimonian-laird": "DerSimonian-Laird"}

# With 5 cancers a site the intervals of a sensitivity of .95 cover 84 to 86 %, with 10 they cover 92 to
# 95 %: benchmarks/meta_analysis.md. And an AUC or a slope of a few cancers may have no standard error.
LEAST_OF_A_CLASS = 10
# Sites that a prediction needs: two show that sites differ, not how they are spread.
LEAST_TO_PREDICT = 3
# Nodes of Gauss and Legendre in a panel; more of them move no quantile by 1e-9 of the interval.
NODES = 32
# Where the search for tau2 looks first, as shares of the largest value that it can have.
GRID = np.concatenate([[0.0], np.geomspace(1e-8, 1, 200)])


@dataclass(frozen=True)
class Site:
    """One site in the summary: its estimate in natural units, and its share of the weight in (0, 1)."""

    name: str
    estimate: Estimate
    weight: float


@dataclass(frozen=True)
class NextSite:
    """What to expect of the true value at a site not yet seen: a mixture of normals, on the scale.

    ``weight``, ``mean`` and ``spread`` (standard deviation) have one entry per value of tau considered.
    """

    weight: Floats
    mean: Floats
    spread: Floats

    def chance_below(self, bound: float) -> float:
        """The probability that the next site's true value lies below ``bound`` (on the scale)."""
        return float(self.weight @ ndtr((bound - self.mean) / self.spread))

    def quantile(self, probability: float) -> float:
        """The value that the next site's lies below with this probability, between 0 and 1."""
        centre, reach = float(self.weight @ self.mean), float(self.spread.max())
        while not self.chance_below(centre - reach) < probability < self.chance_below(centre + reach):
            reach *= 2
        return float(
            brentq(
                lambda bound: self.chance_below(bound) - probability,
                centre - reach,
                centre + reach,
                xtol=1e-14 * float(self.spread.min()),
            )
        )


@dataclass(frozen=True)
class RandomEffects:
    """A random-effects summary, with what a forest plot draws.

    ``sites``, ``mean`` and ``prediction`` are in natural units (an AUC, an O/E ratio); ``tau``, the
    standard deviation between sites, is on the scale, as are ``scale_mean`` and its ``standard_error``.
    ``i_squared`` in [0, 1] is the share of the variation that is not chance. ``q`` is Cochran's test of
    sites that differ by chance only, with ``p_value``.
    """

    scale: str
    estimator: str
    sites: tuple[Site, ...]
    mean: Estimate
    prediction: Estimate
    tau: Estimate
    i_squared: Estimate
    q: float
    p_value: float
    scale_mean: float
    standard_error: float
    next_site: NextSite | None

    def chance_next_site_reaches(self, bound: float) -> float:
        """The probability that the next site's true value is at least ``bound`` (in natural units).

        NaN where there are too few sites for a prediction.
        """
        return (
            np.nan if self.next_site is None else 1 - self.next_site.chance_below(to_scale(bound, self.scale))
        )


@takes_series
def random_effects(
    value: ArrayLike,
    standard_error: ArrayLike,
    *,
    scale: str = "identity",
    site: ArrayLike | None = None,
    estimator: str = "reml",
    level: float = 0.95,
) -> RandomEffects:
    """The mean over sites, how far sites differ, and the range to expect at the next site.

    Parameters
    ----------
    value, standard_error : shape (k,), k >= 2, one per site, both already on the scale (``on_scale``,
        ``logit_rates``); finite, standard errors above 0.
    scale : ``"logit"`` for an AUC or a rate, ``"log"`` for O/E, ``"identity"`` for a slope, an intercept or
        a difference.
    site : names, shape (k,); 1 to k unless given.
    estimator : of the variance between sites, ``"reml"`` or ``"dersimonian-laird"``.
    level : of every interval.

    Notes
    -----
    Mean: weights 1 / (standard_error^2 + tau^2), interval of Hartung and Knapp 2001, doi:10.1002/sim.1009,
    and Sidik and Jonkman 2002, doi:10.1002/sim.1262; sites that happen to be all alike would make it absurdly
    narrow, so never narrower than with tau = 0 (Wiksten et al. 2016, doi:10.1002/sim.6879). tau by restricted
    maximum likelihood, or DerSimonian and Laird 1986, doi:10.1016/0197-2456(86)90046-2; its interval by the
    Q-profile, Viechtbauer 2007, doi:10.1002/sim.2514. I2: Higgins and Thompson 2002, doi:10.1002/sim.1186.
    For the prediction see ``next_site``.
    """
    names, data = _checked(value, standard_error, scale, site)
    tau2 = _tau2(data, estimator)
    fit, common = data.at(tau2), data.at(0.0)
    scale_mean, q = float(fit.mean), float(common.q)
    reach, words = _reach_of_mean(fit, common, level)
    tau, i_squared = _heterogeneity(data, tau2, estimator, level)
    predicted = next_site(data.value, data.error) if data.sites >= LEAST_TO_PREDICT else None
    return RandomEffects(
        scale=scale,
        estimator=estimator,
        sites=_rows(names, data, fit.weight, scale, level),
        mean=_natural(
            scale_mean,
            scale_mean - reach,
            scale_mean + reach,
            scale,
            level,
            f"{ESTIMATORS[estimator]}, {words}",
        ),
        prediction=_predicted(predicted, data, scale, level),
        tau=tau,
        i_squared=i_squared,
        q=q,
        p_value=float(chdtrc(data.sites - 1, q)),
        scale_mean=scale_mean,
        standard_error=fit.hartung_knapp,
        next_site=predicted,
    )


@takes_series
def leave_one_site_out(
    value: ArrayLike,
    standard_error: ArrayLike,
    *,
    scale: str = "identity",
    site: ArrayLike | None = None,
    estimator: str = "reml",
    level: float = 0.95,
) -> tuple[RandomEffects, ...]:
    """The summary without the first site, without the second, and so on: k summaries of k - 1 sites.

    Parameters as for ``random_effects``, with k >= 3.
    """
    names, data = _checked(value, standard_error, scale, site)
    if data.sites < 3:
        raise ValueError(f"Leaving one site out needs at least 3 sites; got {data.sites}.")
    return tuple(
        random_effects(
            np.delete(data.value, left_out),
            np.delete(data.error, left_out),
            scale=scale,
            site=np.delete(names, left_out),
            estimator=estimator,
            level=level,
        )
        for left_out in range(data.sites)
    )


@takes_series
def next_site(value: ArrayLike, standard_error: ArrayLike) -> NextSite:
    """What to expect of the true value at a site not yet seen, from at least 3 sites.

    Parameters
    ----------
    value, standard_error : shape (k,), on the scale.

    Notes
    -----
    At the true tau^2, Q(tau^2) = sum w (y - mean)^2 with w = 1 / (standard_error^2 + tau^2) is chi-squared
    with k - 1 degrees of freedom; read backwards, each value of chi-squared gives a tau^2 (0 where Q(0) is
    below it), and so a confidence distribution of tau^2 (Viechtbauer 2007, doi:10.1002/sim.2514). Given
    tau^2 the next value is normal about the mean with variance tau^2 + 1 / sum(w); the mixture over that
    distribution is integrated numerically, without chance. The reasoning is that of Nagashima et al. 2019,
    doi:10.1177/0962280218773520. Where sites are measured without error it is the prediction interval of a
    normal sample, mean +- t(k - 1) s sqrt(1 + 1/k).
    """
    data = _checked(value, standard_error, "identity", None)[1]
    if data.sites < LEAST_TO_PREDICT:
        raise ValueError(
            f"Predicting the next site needs at least {LEAST_TO_PREDICT} sites; got {data.sites}."
        )
    q = float(data.at(0.0).q)
    chi, share = _nodes(data, q)
    tau2 = np.append(_tau2_where_q_is(data, chi**2), 0.0)
    weight = np.append(share, chdtrc(data.sites - 1, q))
    fits = data.at(tau2)
    return NextSite(weight / weight.sum(), fits.mean, np.sqrt(tau2 + 1 / fits.weight.sum(axis=-1)))


def on_scale(estimate: Estimate, scale: str, *, groups: float = np.inf) -> tuple[float, float]:
    """An estimate and its standard error on the scale, read off its interval: half of it over the quantile.

    Exact for an interval made on that scale (``auc_logit``, ``observed_expected``, a Wald interval of a
    slope). NaN where a bound has no place on the scale, such as an AUC of 1: such a site is left out.

    Parameters
    ----------
    groups : where the interval reaches as far as Student's t: ``intervals.effective_groups``.
    """
    bounds = to_scale(estimate.low, scale), to_scale(estimate.high, scale)
    error = (bounds[1] - bounds[0]) / (2 * quantile_by_group(estimate.level, groups))
    value = to_scale(estimate.value, scale)
    return (value, error) if np.isfinite(value) and np.isfinite(error) else (np.nan, np.nan)


def on_scale_by_variance(value: float, variance: float, scale: str) -> tuple[float, float]:
    """An estimate and its standard error on the scale, from its variance by the delta method.

    NaN where the value has no place on the scale, such as an AUC of 1.
    """
    value = np.float64(value)
    with np.errstate(divide="ignore", invalid="ignore"):
        steepness = {"logit": 1 / (value * (1 - value)), "log": 1 / value, "identity": np.float64(1)}
        error = float(np.sqrt(variance) * steepness[scale])
    return (to_scale(value, scale), error) if np.isfinite(error) else (np.nan, np.nan)


@takes_series
def logit_rates(
    successes: ArrayLike, totals: ArrayLike, *, independent: ArrayLike | None = None
) -> tuple[Floats, Floats]:
    """The sites' sensitivities, or other rates, and their standard errors on the logit scale: (k,) each.

    Parameters
    ----------
    successes, totals : counts, shape (k,), 0 <= successes <= totals, totals above 0.
    independent : cases that each total is worth where cases come in groups
        (``rates.independent_cases``), shape (k,).

    Notes
    -----
    log((x + 1/2) / (n - x + 1/2)), with variance 1 / (n p (1 - p)) at the rate p of all sites together
    (Chang et al. 2001, doi:10.1002/sim.823). With each site's own variance, 1/x + 1/(n - x), sites with
    high rates would weigh less and draw the summary towards 1/2: benchmarks/meta_analysis.md.
    """
    hit, total = np.asarray(successes, dtype=np.float64), np.asarray(totals, dtype=np.float64)
    if hit.shape != total.shape or not np.all((hit >= 0) & (hit <= total) & (total > 0)):
        raise ValueError(f"Expected 0 <= successes <= totals and totals above 0; got {hit} of {total}.")
    worth = total if independent is None else np.asarray(independent, dtype=np.float64)
    hit = hit / total * worth
    share = (hit.sum() + 0.5) / (worth.sum() + 1)
    return np.log((hit + 0.5) / (worth - hit + 0.5)), np.sqrt(1 / (worth * share * (1 - share)))


def to_scale(value: float, scale: str) -> float:
    """A number in natural units, put on the scale; infinite or NaN where it has no place there."""
    if scale not in SCALES:
        raise ValueError(f"Expected the scale 'logit', 'log' or 'identity'; got {scale!r}.")
    with np.errstate(divide="ignore", invalid="ignore"):
        return float({"logit": logit, "log": np.log, "identity": float}[scale](value))


def from_scale(value: float, scale: str) -> float:
    """A number on the scale, put back into natural units."""
    return float({"logit": expit, "log": np.exp, "identity": float}[scale](value))


@dataclass(frozen=True)
class SitePlan:
    """What becomes of each site: ``use`` is "own", "pooled" or "left out", with the ``reason``."""

    use: tuple[str, ...]
    reason: tuple[str, ...]


@takes_series
def plan_sites(events: ArrayLike, non_events: ArrayLike, *, of: str = "cases") -> SitePlan:
    """Which sites stand alone, which small ones are pooled into one, and which are left out.

    A site stands alone with at least ``LEAST_OF_A_CLASS`` events and as many non-events. Two small sites or
    more are pooled into one where together they have as many; otherwise they are left out. A site without
    cases is always left out.

    Parameters
    ----------
    events, non_events : shape (k,), cases with and without the condition at each site; where cases come in
        groups, groups with such cases, and ``of`` is ``"patients or groups"``.
    """
    counted = np.stack([np.asarray(events, dtype=np.intp), np.asarray(non_events, dtype=np.intp)])
    least = LEAST_OF_A_CLASS
    small = counted.min(axis=0) < least
    together = small & (counted.sum(axis=0) > 0)
    pool = together.sum() > 1 and counted[:, together].sum(axis=1).min() >= least
    use = np.where(small, np.where(together & pool, "pooled", "left out"), "own")
    reason = [
        f"{present} {of} with and {absent} without the condition; {least} of each are needed" if few else ""
        for present, absent, few in zip(*counted, small, strict=True)
    ]
    return SitePlan(tuple(use.tolist()), tuple(reason))


@dataclass(frozen=True)
class _Fit:
    """Weights (..., k), mean and Cochran's Q at given values of tau^2, shape (...)."""

    weight: Floats
    mean: Floats
    q: Floats
    slope: Floats  # of -Q in tau^2

    @property
    def hartung_knapp(self) -> float:
        """Hartung and Knapp's standard error of the mean."""
        return float(np.sqrt(self.q / ((self.weight.shape[-1] - 1) * self.weight.sum(axis=-1))))


@dataclass(frozen=True)
class _Data:
    value: Floats
    error: Floats

    @property
    def sites(self) -> int:
        return len(self.value)

    def at(self, tau2: ArrayLike) -> _Fit:
        weight = 1 / (self.error**2 + np.asarray(tau2, dtype=np.float64)[..., None])
        mean = (weight * self.value).sum(axis=-1) / weight.sum(axis=-1)
        squares = (self.value - np.asarray(mean)[..., None]) ** 2
        return _Fit(weight, mean, (weight * squares).sum(axis=-1), (weight**2 * squares).sum(axis=-1))


def _checked(
    value: ArrayLike, standard_error: ArrayLike, scale: str, site: ArrayLike | None
) -> tuple[NDArray[np.str_], _Data]:
    to_scale(0.5, scale)  # refuses an unknown scale
    value, error = np.asarray(value, dtype=np.float64), np.asarray(standard_error, dtype=np.float64)
    if value.ndim != 1 or value.shape != error.shape:
        raise ValueError(f"Expected one standard error per site; got shapes {value.shape} and {error.shape}.")
    names = np.arange(1, len(value) + 1).astype(str) if site is None else np.asarray(site).astype(str)
    if names.shape != value.shape:
        raise ValueError(f"Expected one name per site; got {names.shape} for {len(value)} sites.")
    if len(value) < 2:
        raise ValueError(f"A summary over sites needs at least 2 sites; got {len(value)}.")
    wrong = ~(np.isfinite(value) & np.isfinite(error) & (error > 0))
    if wrong.any():
        first = int(np.argmax(wrong))
        raise ValueError(
            f"Expected a finite estimate and a standard error above 0 for every site; site {names[first]} "
            f"has {value[first]:g} and {error[first]:g}: leave it out."
        )
    return names, _Data(value, error)


def _tau2(data: _Data, estimator: str) -> float:
    if estimator not in ESTIMATORS:
        raise ValueError(f"Expected the estimator 'reml' or 'dersimonian-laird'; got {estimator!r}.")
    return _reml(data) if estimator == "reml" else _dersimonian_laird(data)


def _dersimonian_laird(data: _Data) -> float:
    fit = data.at(0.0)
    total = fit.weight.sum()
    return max(0.0, float((fit.q - (data.sites - 1)) / (total - (fit.weight**2).sum() / total)))


def _reml(data: _Data) -> float:
    """The tau^2 of the highest restricted likelihood: found on a grid, then to the last bits."""
    # Beyond this the likelihood falls: in orthogonal contrasts z every z^2 / (v + tau^2) is below 1.
    most = float(((data.value - data.value.mean()) ** 2).sum())
    grid = most * GRID
    fit = data.at(grid)
    likelihood = np.log(fit.weight).sum(axis=-1) - np.log(fit.weight.sum(axis=-1)) - fit.q
    best = int(np.argmax(likelihood))
    low, high = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    if not _score(low, data) > 0:
        return 0.0
    return float(brentq(_score, low, high, args=(data,), xtol=1e-15 * most))


def _score(tau2: float, data: _Data) -> float:
    """Twice the derivative of the restricted log-likelihood."""
    fit = data.at(tau2)
    total = fit.weight.sum()
    return float(fit.slope - total + (fit.weight**2).sum() / total)


def _tau2_where_q_is(data: _Data, target: Floats) -> Floats:
    """The tau^2 at which Q(tau^2) falls to the targets, shape (m,), all below Q(0)."""
    # 1/Q rises and is concave in tau^2 (Q is a sum of a / (b + tau^2)): Newton's steps from 0 never pass
    # the root, and there is one step only where all standard errors are equal.
    tau2, least = np.zeros(len(target)), float(np.min(data.error)) ** 2
    for _ in range(100):
        fit = data.at(tau2)
        step = (1 / target - 1 / fit.q) * fit.q**2 / fit.slope
        tau2 = np.maximum(tau2 + step, 0.0)
        if np.all(np.abs(step) <= 1e-14 * (tau2 + least)):
            break
    return tau2


def _reach_of_mean(fit: _Fit, common: _Fit, level: float) -> tuple[float, str]:
    """Half the mean's interval: Hartung and Knapp's, or that of a common effect where it is wider."""
    freedom = fit.weight.shape[-1] - 1
    reach = stdtrit(freedom, (1 + level) / 2) * fit.hartung_knapp
    without_tau = normal_quantile(level) / float(np.sqrt(common.weight.sum()))
    if reach < without_tau:
        return without_tau, "as if sites did not differ: Hartung and Knapp's interval would be narrower"
    return float(reach), f"Hartung-Knapp-Sidik-Jonkman, t with {freedom} degrees of freedom"


def _heterogeneity(data: _Data, tau2: float, estimator: str, level: float) -> tuple[Estimate, Estimate]:
    """tau and I^2, with their Q-profile intervals."""
    low, high, words = _q_profile(data, level)
    weight = data.at(0.0).weight
    total = weight.sum()
    typical = (data.sites - 1) * total / (total**2 - (weight**2).sum())
    root, least, most = (float(np.sqrt(each)) for each in (tau2, low, high))
    tau = Estimate(root, least, most, level, f"{ESTIMATORS[estimator]}, {words}")
    value, least, most = (float(each / (each + typical)) for each in (tau2, low, high))
    return tau, Estimate(value, least, most, level, tau.method)


def _q_profile(data: _Data, level: float) -> tuple[float, float, str]:
    """Bounds of tau^2: where Q falls to the upper and to the lower quantile of chi-squared."""
    q = data.at(0.0).q
    targets = [float(chdtri(data.sites - 1, tail)) for tail in ((1 - level) / 2, (1 + level) / 2)]
    if q < targets[1]:
        return np.nan, np.nan, "no interval: the sites differ less than chance alone would make them"
    low, high = (float(_tau2_where_q_is(data, np.array([t]))[0]) if q > t else 0.0 for t in targets)
    return low, high, "Q-profile"


def _nodes(data: _Data, q: float) -> tuple[Floats, Floats]:
    """Values of chi from 0 to sqrt(q) and their shares of its distribution with k - 1 degrees of freedom."""
    freedom = data.sites - 1
    top = min(float(np.sqrt(q)), float(np.sqrt(chdtri(freedom, 1e-17))))
    if top < 1e-10:  # sites that are all alike, but for rounding
        return np.empty(0), np.empty(0)
    # Gauss and Legendre in panels that end where tau^2 passes a decade between the sites' variances.
    least, most = float(np.min(data.error)) ** 2, float(np.max(data.error)) ** 2
    decades = least * 10.0 ** np.arange(np.ceil(np.log10(most / least)) + 1)
    ends = np.unique(np.concatenate([[0.0, top], np.minimum(np.sqrt(data.at(decades).q), top)]))
    node, share = _gauss_legendre()
    width = np.diff(ends)[:, None]
    chi = ends[:-1, None] + width * (node + 1) / 2
    log_density = (
        (freedom - 1) * np.log(chi) - chi**2 / 2 - (freedom / 2 - 1) * np.log(2) - gammaln(freedom / 2)
    )
    return chi.ravel(), (share * width / 2 * np.exp(log_density)).ravel()


@cache
def _gauss_legendre() -> tuple[Floats, Floats]:
    return np.polynomial.legendre.leggauss(NODES)


def _predicted(predicted: NextSite | None, data: _Data, scale: str, level: float) -> Estimate:
    if predicted is None:
        reason = f"a prediction for the next site needs at least {LEAST_TO_PREDICT} sites, got {data.sites}"
        return undefined(reason, level=level)
    low, middle, high = (predicted.quantile(p) for p in ((1 - level) / 2, 0.5, (1 + level) / 2))
    words = f"prediction over the Q-profile's confidence distribution of tau, {data.sites} sites"
    return _natural(middle, low, high, scale, level, words)


def _natural(value: float, low: float, high: float, scale: str, level: float, method: str) -> Estimate:
    return Estimate(from_scale(value, scale), from_scale(low, scale), from_scale(high, scale), level, method)


def _rows(names: NDArray[np.str_], data: _Data, weight: Floats, scale: str, level: float) -> tuple[Site, ...]:
    reach = normal_quantile(level) * data.error
    words = "normal on the scale of the summary"
    return tuple(
        Site(str(name), _natural(value, value - half, value + half, scale, level, words), float(share))
        for name, value, half, share in zip(names, data.value, reach, weight / weight.sum(), strict=True)
    )
