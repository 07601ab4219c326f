# Golden values for tests/test_sample_size.py, from the papers' formulas and discrimination_samples.csv.
#
#   Rscript tests/reference/adequacy.R      (base R with jsonlite)
#
# Sample sizes by stepping through n one case at a time (AUC) or in closed form (O/E, slope), errors of an
# AUC by Hanley and McNeil's formula, the least difference by uniroot.
library(jsonlite)

here <- dirname(normalizePath(sub("--file=", "", grep("--file=", commandArgs(), value = TRUE))))
samples <- read.csv(file.path(here, "discrimination_samples.csv"))
z <- qnorm(.975)

hanley <- function(auc, events, non_events) {
  q1 <- auc / (2 - auc); q2 <- 2 * auc^2 / (1 + auc)
  sqrt((auc * (1 - auc) + (events - 1) * (q1 - auc^2) + (non_events - 1) * (q2 - auc^2)) / (events * non_events))
}
# Riley et al. 2021: Newcombe's standard error of the C statistic.
newcombe <- function(C, n, phi) {
  sqrt(C * (1 - C) * (1 + (n / 2 - 1) * ((1 - C) / (2 - C)) + (n / 2 - 1) * C / (1 + C)) / (n^2 * phi * (1 - phi)))
}
cases_for_auc <- function(C, phi, width) {
  n <- 2
  while (2 * z * newcombe(C, n, phi) > width) n <- n + 1
  n
}
cases_for_oe <- function(phi, width) {
  error <- uniroot(function(s) exp(z * s) - exp(-z * s) - width, c(1e-6, 5), tol = 1e-14)$root
  ceiling((1 - phi) / (phi * error^2))
}
cases_for_slope <- function(risk, width) {
  lp <- qlogis(risk[risk > 0 & risk < 1])
  w <- exp(lp) / (1 + exp(lp))^2
  I_a <- mean(w); I_b <- mean(lp^2 * w); I_ab <- mean(lp * w)
  ceiling(I_a / ((width / (2 * z))^2 * (I_a * I_b - I_ab^2)))
}
least_difference <- function(auc, events, non_events, r, power) {
  first <- hanley(auc, events, non_events)
  uniroot(function(d) {
    second <- hanley(auc + d, events, non_events)
    d - (z + qnorm(power)) * sqrt(first^2 + second^2 - 2 * r * first * second)
  }, c(0, 1 - auc), tol = 1e-14)$root
}

golden <- list(
  hanley = lapply(list(c(.8, 42, 114), c(.86, 42, 114), c(.95, 42, 114), c(.7, 5, 900)), function(v) {
    list(auc = v[1], events = v[2], non_events = v[3], error = hanley(v[1], v[2], v[3]))
  }),
  auc = lapply(list(c(.86, .27, .1), c(.9, .27, .1), c(.75, .02, .08)), function(v) {
    list(auc = v[1], prevalence = v[2], width = v[3], cases = cases_for_auc(v[1], v[2], v[3]))
  }),
  observed_expected = lapply(list(c(.27, .2), c(.02, .4)), function(v) {
    list(prevalence = v[1], width = v[2], cases = cases_for_oe(v[1], v[2]))
  }),
  slope = lapply(split(samples, samples$sample), function(rows) cases_for_slope(rows$risk_a, .4)),
  least_difference = lapply(list(c(.86, 42, 114, .6, .8), c(.86, 42, 114, .6, .5), c(.7, 30, 30, 0, .9)), function(v) {
    list(auc = v[1], events = v[2], non_events = v[3], correlation = v[4], power = v[5],
         difference = least_difference(v[1], v[2], v[3], v[4], v[5]))
  })
)
write(toJSON(golden, digits = I(17), auto_unbox = TRUE), file.path(here, "adequacy.json"))
