# Golden values for tests/test_intervals.py: Rscript tests/reference/proportions.R   (R with epiR, jsonlite)
#
# Wilson's interval by prop.test without continuity correction and by epiR, Clopper-Pearson's by binom.test.
suppressMessages({library(epiR); library(jsonlite)})

here <- dirname(normalizePath(sub("--file=", "", grep("--file=", commandArgs(), value = TRUE))))
rows <- list()
for (counts in list(c(0, 10), c(1, 10), c(5, 10), c(10, 10), c(0, 1), c(1, 1), c(38, 42), c(91, 114), c(2, 1000), c(999, 1000))) {
  for (level in c(.95, .8)) {
    k <- counts[1]; n <- counts[2]
    wilson <- suppressWarnings(prop.test(k, n, conf.level = level, correct = FALSE)$conf.int)
    epi <- epi.conf(matrix(counts, nrow = 1), ctype = "prevalence", method = "wilson", N = 1e12, conf.level = level)
    exact <- binom.test(k, n, conf.level = level)$conf.int
    rows[[length(rows) + 1]] <- list(
      successes = k, total = n, level = level, wilson = as.numeric(wilson),
      epi_wilson = c(epi$lower, epi$upper), clopper_pearson = as.numeric(exact)
    )
  }
}
write(toJSON(rows, digits = I(17), auto_unbox = TRUE, pretty = TRUE), file.path(here, "proportions.json"))
