# Golden values for tests/test_calibration.py and its kin, from discrimination_samples.csv.
#
#   Rscript tests/reference/calibration.R      (R with rms, sandwich and jsonlite)
#
# Intercept, slope and recalibration by glm, their clustered variance by sandwich, Brier score and the
# distances from the smoothed curve by rms::val.prob, the curve by lowess; the intervals of means and
# ratios, for which R has no ready function, written out here.
suppressMessages({library(rms); library(sandwich); library(jsonlite)})

here <- dirname(normalizePath(sub("--file=", "", grep("--file=", commandArgs(), value = TRUE))))
samples <- read.csv(file.path(here, "discrimination_samples.csv"))
exact <- glm.control(epsilon = 1e-15, maxit = 100)
z <- qnorm(.975)

coefficient <- function(fit, place, group) {
  list(
    value = unname(coef(fit)[place]),
    error = sqrt(vcov(fit)[place, place]),
    # HC1: the factor G / (G - 1) * (n - 1) / (n - k).
    clustered = sqrt(vcovCL(fit, cluster = group, type = "HC1", cadjust = TRUE)[place, place])
  )
}

logistic <- function(outcome, risk, group) {
  inner <- risk > 0 & risk < 1
  y <- outcome[inner]; x <- qlogis(risk[inner]); g <- group[inner]
  overlap <- max(x[y == 0]) > min(x[y == 1])
  found <- list(intercept = coefficient(glm(y ~ 1, offset = x, family = binomial, control = exact), 1, g))
  if (overlap) {
    found$slope <- coefficient(glm(y ~ x, family = binomial, control = exact), 2, g)
    found$platt <- unname(coef(glm(y ~ x, family = binomial, control = exact)))
    found$inverse_temperature <- unname(coef(glm(y ~ 0 + x, family = binomial, control = exact)))
  }
  weight <- ifelse(y == 1, .1 / mean(y), .9 / (1 - mean(y)))
  moved <- suppressWarnings(glm(y ~ 1, offset = x, weights = weight, family = binomial, control = exact))
  found$intercept_at_10 <- list(value = unname(coef(moved)), error = sqrt(vcovHC(moved, type = "HC1")[1, 1]))
  found
}

between <- function(influence, group) {
  sums <- tapply(influence, group, sum)
  sqrt(length(sums) / (length(sums) - 1) * sum(sums^2))
}
on_log_scale <- function(value, influence, group) {
  one <- function(unit) value * exp(c(-1, 1) * z * between(influence, unit) / value)
  list(value = value, by_case = one(seq_along(group)), by_group = one(group))
}
scores <- function(outcome, risk, group) {
  n <- length(outcome); squares <- (risk - outcome)^2; prevalence <- mean(outcome)
  surprise <- -ifelse(outcome == 1, log(risk), log1p(-risk))
  worst <- prevalence * (1 - prevalence); ratio <- mean(squares) / worst
  expected <- sum(risk); oe <- sum(outcome) / expected
  list(
    brier = on_log_scale(mean(squares), (squares - mean(squares)) / n, group),
    log_loss = on_log_scale(mean(surprise), (surprise - mean(surprise)) / n, group),
    one_less_scaled_brier = on_log_scale(
      ratio, ((squares - mean(squares)) / worst - ratio / worst * (1 - 2 * prevalence) * (outcome - prevalence)) / n, group
    ),
    observed_expected = on_log_scale(oe, (outcome - oe * risk) / expected, group)
  )
}

smoothed <- function(outcome, risk) {
  curve <- lowess(risk, outcome, iter = 0)
  error <- abs(risk - approx(curve, xout = risk, ties = mean)$y)
  stats <- suppressWarnings(val.prob(risk, outcome, pl = FALSE))
  grid <- seq(min(risk), max(risk), length.out = 21)
  list(
    grid = grid, curve = approx(curve, xout = grid, ties = mean)$y,
    eavg = unname(stats["Eavg"]), e90 = unname(stats["E90"]), e50 = unname(quantile(error, .5)),
    brier = unname(stats["Brier"])
  )
}

judge <- function(outcome, risk, group) {
  pooled <- isoreg(risk, outcome)
  list(
    logistic = logistic(outcome, risk, group),
    scores = scores(outcome, risk, group),
    smoothed = smoothed(outcome, risk),
    # isoreg takes ties in the order of the rows: only samples without ties are told the same way by all.
    isotonic = if (anyDuplicated(risk) || length(risk) > 200) NULL else list(risk = sort(risk), fitted = pooled$yf)
  )
}

golden <- lapply(split(samples, samples$sample), function(rows) {
  list(a = judge(rows$outcome, rows$risk_a, rows$group), b = judge(rows$outcome, rows$risk_b, rows$group))
})
write(toJSON(golden, digits = I(17), auto_unbox = TRUE, null = "null"), file.path(here, "calibration.json"))
