# Golden values for tests/test_decision_curve.py, from discrimination_samples.csv.
#
#   Rscript tests/reference/decision_curve.R      (base R with jsonlite)
#
# Net benefit written out from Vickers and Elkin 2006, one threshold and one case at a time.
library(jsonlite)

here <- dirname(normalizePath(sub("--file=", "", grep("--file=", commandArgs(), value = TRUE))))
samples <- read.csv(file.path(here, "discrimination_samples.csv"))
thresholds <- (1:99) / 100

curve <- function(outcome, risk) {
  n <- length(outcome); prevalence <- mean(outcome); odds <- thresholds / (1 - thresholds)
  net_benefit <- sapply(thresholds, function(t) {
    sum(risk >= t & outcome == 1) / n - sum(risk >= t & outcome == 0) / n * t / (1 - t)
  })
  all <- prevalence - (1 - prevalence) * odds
  list(
    net_benefit = net_benefit, treat_all = all, standardised = net_benefit / prevalence,
    interventions_avoided = 100 * (net_benefit - all) / odds
  )
}

golden <- lapply(split(samples, samples$sample), function(rows) curve(rows$outcome, rows$risk_a))
write(toJSON(golden, digits = I(17), auto_unbox = TRUE), file.path(here, "decision_curve.json"))
