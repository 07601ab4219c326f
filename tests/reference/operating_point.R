# Golden values for tests/test_operating_point.py and its kin, from discrimination_samples.csv.
#
#   Rscript tests/reference/operating_point.R      (R with epiR, pROC and jsonlite)
#
# The 2x2 measures by epiR, Youden's cut by pROC, McNemar's exact test by binom.test; Newcombe's paired
# interval, MOVER, MCC's delta method and the prevalence formulas are written out from their papers.
suppressMessages({library(epiR); library(pROC); library(jsonlite)})

here <- dirname(normalizePath(sub("--file=", "", grep("--file=", commandArgs(), value = TRUE))))
samples <- read.csv(file.path(here, "discrimination_samples.csv"))
z <- qnorm(.975)

rates <- function(outcome, risk, threshold) {
  flagged <- risk >= threshold
  tp <- sum(flagged & outcome == 1); fp <- sum(flagged & outcome == 0)
  fn <- sum(!flagged & outcome == 1); tn <- sum(!flagged & outcome == 0)
  found <- list(threshold = threshold, counts = c(tp, fp, fn, tn))
  if (min(tp, fp, fn, tn) > 0) {
    detail <- epi.tests(as.table(matrix(c(tp, fp, fn, tn), 2, byrow = TRUE)), method = "wilson")$detail
    for (name in c("se", "sp", "pv.pos", "pv.neg", "diag.ac", "lr.pos", "lr.neg")) {
      found[[name]] <- as.numeric(detail[detail$statistic == name, c("est", "lower", "upper")])
    }
    found$mcc <- mcc(tp, fp, fn, tn)
    found$balanced <- mover(found$se, found$sp, .5, .5)
    found$ppv_at_10 <- predictive(tp / (tp + fn), tp, fp / (fp + tn), fp, .1)
    found$npv_at_10 <- predictive(tn / (fp + tn), tn, fn / (tp + fn), fn, .9)
    odds <- threshold / (1 - threshold)
    found$net_benefit_at_10 <- mover(found$se, 1 - found$sp[c(1, 3, 2)], .1, -.9 * odds)
  }
  found
}

# Pearson's correlation of two binary columns, its error by the influence of each case.
mcc <- function(tp, fp, fn, tn) {
  flag <- rep(c(1, 1, 0, 0), c(tp, fp, fn, tn)); event <- rep(c(1, 0, 1, 0), c(tp, fp, fn, tn))
  n <- length(flag); r <- cor(flag, event)
  standard <- function(v) (v - mean(v)) / sqrt(mean((v - mean(v))^2))
  x <- standard(flag); y <- standard(event)
  error <- sqrt(mean((x * y - r * (x^2 + y^2) / 2)^2) / n)
  c(r, tanh(atanh(r) + c(-1, 1) * z * error / (1 - r^2)))
}

# Zou and Donner 2008: a * p + b * q from the intervals (value, low, high) of p and q.
mover <- function(p, q, a, b) {
  value <- a * p[1] + b * q[1]
  reach <- function(p_bound, q_bound) sqrt((a * (p[1] - p_bound))^2 + (b * (q[1] - q_bound))^2)
  lower <- if (b > 0) reach(p[2], q[2]) else reach(p[2], q[3])
  upper <- if (b > 0) reach(p[3], q[3]) else reach(p[3], q[2])
  c(value, value - lower, value + upper)
}

# Mercaldo, Lau and Zhou 2007, the logit interval.
predictive <- function(right, right_count, wrong, wrong_count, share) {
  value <- share * right / (share * right + (1 - share) * wrong)
  error <- sqrt((1 - right) / right_count + (1 - wrong) / wrong_count)
  c(value, plogis(qlogis(value) + c(-1, 1) * z * error))
}

wilson <- function(k, n) suppressWarnings(prop.test(k, n, correct = FALSE))$conf.int

# Newcombe 1998, method 10: proportions right of model a and b on the same cases.
paired <- function(right_a, right_b) {
  e <- sum(right_a & right_b); f <- sum(right_a & !right_b); g <- sum(!right_a & right_b)
  h <- sum(!right_a & !right_b); n <- e + f + g + h
  a <- wilson(e + f, n); b <- wilson(e + g, n); p <- (e + f) / n; q <- (e + g) / n
  bottom <- sqrt((e + f) * (g + h)) * sqrt((e + g) * (f + h))
  top <- e * h - f * g
  phi <- if (bottom == 0) 0 else if (top > n / 2) (top - n / 2) / bottom else if (top >= 0) 0 else top / bottom
  low <- sqrt((p - a[1])^2 - 2 * phi * (p - a[1]) * (b[2] - q) + (b[2] - q)^2)
  high <- sqrt((q - b[1])^2 - 2 * phi * (q - b[1]) * (a[2] - p) + (a[2] - p)^2)
  test <- if (f + g == 0) 1 else binom.test(f, f + g)$p.value
  list(only = c(f, g), difference = c(p - q, p - q - low, p - q + high), p_value = test)
}

judge <- function(rows) {
  outcome <- rows$outcome; a <- rows$risk_a; b <- rows$risk_b
  thresholds <- c(.1, .3, .5, .7)
  right_a <- (a >= .3) == (outcome == 1); right_b <- (b >= .4) == (outcome == 1)
  curve <- roc(outcome, a, levels = c(0, 1), direction = "<", quiet = TRUE)
  list(
    at = lapply(thresholds, function(threshold) rates(outcome, a, threshold)),
    youden = max(curve$sensitivities + curve$specificities - 1),
    mcnemar = list(
      sensitivity = paired(right_a[outcome == 1], right_b[outcome == 1]),
      specificity = paired(right_a[outcome == 0], right_b[outcome == 0]),
      accuracy = paired(right_a, right_b)
    )
  )
}

# The chance that the k-th largest of m events bounds the target share, by the binomial itself.
met <- lapply(list(c(19, 21, .9), c(21, 21, .9), c(38, 42, .9), c(42, 42, .9), c(27, 29, .95)), function(v) {
  list(successes = v[1], total = v[2], target = v[3], probability = pbinom(v[1] - 1, v[2], v[3]))
})
golden <- list(samples = lapply(split(samples, samples$sample), judge), met = met)
write(toJSON(golden, digits = I(17), auto_unbox = TRUE, null = "null"), file.path(here, "operating_point.json"))
