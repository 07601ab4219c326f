# Golden values for tests/test_meta_analysis.py: Rscript tests/reference/meta_analysis.R   (R with metafor, jsonlite)
#
# Summaries, heterogeneity and Q-profile intervals by metafor. The prediction is written by hand, with steps
# of its own: tau^2 at each level of its confidence distribution by root finding, Q by a quadratic form
# of contrasts, and R's adaptive `integrate`, where the Python has fixed nodes over the chi axis. Takes minutes.
suppressMessages({library(metafor); library(jsonlite)})

here <- dirname(normalizePath(sub("--file=", "", grep("--file=", commandArgs(), value = TRUE))))

bcg <- escalc(measure = "RR", ai = tpos, bi = tneg, ci = cpos, di = cneg, data = dat.bcg)
sets <- list(
  bcg = list(y = as.numeric(bcg$yi), s = sqrt(bcg$vi)),
  four_scanners = list(y = c(1.30, 0.72, 1.05, 1.61), s = c(0.14, 0.22, 0.31, 0.45)),
  three = list(y = c(0.2, 1.4, 0.9), s = c(0.25, 0.30, 0.20)),
  two = list(y = c(0.1, 1.2), s = c(0.2, 0.3)),
  alike = list(y = c(1.00, 1.05, 0.98, 1.02, 1.01), s = c(0.3, 0.2, 0.4, 0.25, 0.35)),
  some_chance = list(y = c(0.9, 1.5, 1.1, 0.6, 1.3), s = c(0.4, 0.35, 0.3, 0.5, 0.45)),
  equal_errors = list(y = c(-0.31, 0.12, 0.48, -0.05, 0.22, 0.90), s = rep(0.2, 6)),
  far_apart = list(y = c(-3, 0.5, 4, 1.2, -1.1, 2.2, 0.1), s = c(0.1, 0.05, 0.2, 0.1, 0.3, 0.08, 0.15)),
  ten = list(
    y = c(0.02, -0.31, 0.45, 0.11, 0.27, -0.08, 0.39, 0.05, -0.22, 0.61),
    s = c(0.10, 0.25, 0.30, 0.12, 0.40, 0.08, 0.22, 0.18, 0.35, 0.28)
  )
)

summary_of <- function(y, s, method) {
  control <- list(threshold = 1e-15, maxiter = 100000, tol = 1e-14)
  fit <- rma(yi = y, sei = s, method = method, test = "knha", control = control)
  wide <- list(tol = 1e-14, maxiter = 100000, tau2.max = 1e5)
  spread <- suppressWarnings(confint(fit, control = wide))$random
  list(
    mean = c(as.numeric(fit$beta), fit$ci.lb, fit$ci.ub), error = fit$se,
    tau = as.numeric(spread["tau", ]), i_squared = as.numeric(spread["I^2(%)", ]) / 100,
    q = fit$QE, p_value = fit$QEp, weight = as.numeric(weights(fit)) / 100
  )
}

# Q as y' A (A' (V + tau^2 I) A)^-1 A' y for orthonormal contrasts A.
contrasts_of <- function(k) {
  a <- contr.helmert(k)
  sweep(a, 2, sqrt(colSums(a^2)), "/")
}
q_at <- function(y, s, tau2) {
  a <- contrasts_of(length(y))
  z <- t(a) %*% y
  sum(z * solve(t(a) %*% diag(s^2 + tau2) %*% a, z))
}
chance_below <- function(y, s, bound) {
  k <- length(y)
  normal <- function(tau2) {
    covariance <- diag(s^2 + tau2)
    precision <- sum(solve(covariance, rep(1, k)))
    mean <- sum(solve(covariance, y)) / precision
    pnorm(bound, mean, sqrt(tau2 + 1 / precision))
  }
  # Over the confidence distribution h = P(chi-squared > Q(tau^2)) of tau^2, which starts at its value for 0;
  # h = 1 - (1 - least) x^m straightens the heavy tail at h = 1, where tau has no bound.
  zero <- q_at(y, s, 0)
  least <- pchisq(zero, k - 1, lower.tail = FALSE)
  m <- k - 1
  inner <- function(x) sapply(x, function(each) {
    target <- qchisq((1 - least) * each^m, k - 1)
    if (target >= zero) return(normal(0))
    high <- 1
    while (q_at(y, s, high) > target) high <- high * 4
    root <- uniroot(function(t) 1 / q_at(y, s, t) - 1 / target, c(0, high), tol = high * 1e-15, maxiter = 10000)$root
    normal(root)
  }) * m * x^(m - 1)
  least * normal(0) + (1 - least) * integrate(inner, 1e-9, 1, rel.tol = 1e-11, subdivisions = 2000)$value
}
prediction_of <- function(y, s) {
  middle <- mean(y)
  at <- function(p) uniroot(function(b) chance_below(y, s, b) - p, middle + c(-1, 1), extendInt = "yes", tol = 1e-11)$root
  list(quantiles = c(at(.025), at(.5), at(.975)), chance_below_mean_of_values = chance_below(y, s, middle))
}

out <- lapply(sets, function(set) {
  rows <- list(value = set$y, error = set$s, reml = summary_of(set$y, set$s, "REML"), dl = summary_of(set$y, set$s, "DL"))
  if (length(set$y) > 2) rows$prediction <- prediction_of(set$y, set$s)
  rows
})
write(toJSON(out, digits = I(17), auto_unbox = TRUE, pretty = TRUE, na = "null"), file.path(here, "meta_analysis.json"))
