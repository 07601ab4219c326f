# Golden values for tests/test_updating.py: Rscript tests/reference/updating.R   (R with sandwich, jsonlite)
#
# Intercept and slope of the log-odds by glm, likelihood ratios by logLik, closed testing by its rule; the design
# effects by sandwich's clustered covariance.
suppressMessages({library(sandwich); library(jsonlite)})

here <- dirname(normalizePath(sub("--file=", "", grep("--file=", commandArgs(), value = TRUE))))
samples <- read.csv(file.path(here, "discrimination_samples.csv"))
exact <- glm.control(epsilon = 1e-15, maxit = 100)

updated <- function(y, x, group) {
  overlap <- max(x[y == 0]) > min(x[y == 1])
  if (!overlap || any(!is.finite(x))) return(NULL)
  # No change as a model without coefficients: its likelihood is that of the risks as they are.
  nothing <- sum(dbinom(y, 1, plogis(x), log = TRUE))
  intercept <- glm(y ~ 1, offset = x, family = binomial, control = exact)
  both <- glm(y ~ x, family = binomial, control = exact)
  ratio <- 2 * (as.numeric(logLik(both)) - c(nothing, as.numeric(logLik(intercept))))
  clustered <- vcovCL(both, cluster = group, type = "HC1", cadjust = TRUE)
  effect <- pmax(1, c(sum(diag(solve(vcov(both), clustered))) / 2, clustered[2, 2] / vcov(both)[2, 2]))
  told <- function(statistic) {
    p <- pchisq(statistic, c(2, 1), lower.tail = FALSE)
    chosen <- if (p[1] >= .05) "nothing" else if (p[2] >= .05) "intercept" else "intercept_slope"
    list(statistic = statistic, p_value = p, chosen = chosen)
  }
  list(
    intercept = unname(coef(intercept)), both = unname(coef(both)),
    log_likelihood = c(nothing, as.numeric(logLik(intercept)), as.numeric(logLik(both))),
    by_case = told(ratio), by_group = told(ratio / effect), effect = effect
  )
}

out <- list()
for (name in unique(samples$sample)) {
  rows <- samples[samples$sample == name, ]
  for (letter in c("a", "b")) {
    found <- updated(rows$outcome, qlogis(rows[[paste0("risk_", letter)]]), rows$group)
    if (!is.null(found)) out[[name]][[letter]] <- found
  }
}
write(toJSON(out, digits = I(17), auto_unbox = TRUE, pretty = TRUE), file.path(here, "updating.json"))
