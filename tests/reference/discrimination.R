# Golden values for tests/test_roc.py, tests/test_auc.py and tests/test_intervals.py.
#
#   Rscript tests/reference/discrimination.R      (R with pROC and jsonlite)
#
# AUC, DeLong, tests, rates and partial AUC by pROC; average precision and Obuchowski's clustered variance,
# which pROC does not have, written out here from their definitions.
suppressMessages({library(pROC); library(jsonlite)})

here <- dirname(normalizePath(sub("--file=", "", grep("--file=", commandArgs(), value = TRUE))))
samples <- read.csv(file.path(here, "discrimination_samples.csv"))
resamples <- read.csv(file.path(here, "discrimination_resamples.csv"))

curve <- function(outcome, risk) {
  roc(outcome, risk, levels = c(0, 1), direction = "<", quiet = TRUE)
}

standardised <- function(outcome, risk, low, high, over) {
  # From the raw area: pROC refuses to standardise below the diagonal.
  area <- as.numeric(auc(curve(outcome, risk), partial.auc = c(high, low), partial.auc.focus = over))
  useless <- ((1 - low)^2 - (1 - high)^2) / 2
  (1 + (area - useless) / ((high - low) - useless)) / 2
}

average_precision <- function(outcome, risk) {
  total <- 0
  for (threshold in sort(unique(risk), decreasing = TRUE)) {
    flagged <- risk >= threshold
    gained <- sum(outcome == 1 & risk == threshold) / sum(outcome == 1)
    total <- total + gained * sum(flagged & outcome == 1) / sum(flagged)
  }
  total
}

# Obuchowski 1997, section 2: every pair of an event and a non-event, by its kernel.
components <- function(outcome, risk) {
  kernel <- outer(risk[outcome == 1], risk[outcome == 0], function(x, y) (x > y) + (x == y) / 2)
  list(auc = mean(kernel), X = rowMeans(kernel), Y = colMeans(kernel))
}
clustered_covariance <- function(outcome, group, a, b) {
  theta <- c(a$auc, b$auc)
  group_x <- group[outcome == 1]; group_y <- group[outcome == 0]
  M <- length(group_x); N <- length(group_y)
  I <- length(unique(group)); I10 <- length(unique(group_x)); I01 <- length(unique(group_y))
  S10 <- S01 <- S11 <- 0
  for (g in unique(group)) {
    in_x <- group_x == g; in_y <- group_y == g
    x <- c(sum(a$X[in_x]) - sum(in_x) * theta[1], sum(b$X[in_x]) - sum(in_x) * theta[2])
    y <- c(sum(a$Y[in_y]) - sum(in_y) * theta[1], sum(b$Y[in_y]) - sum(in_y) * theta[2])
    S10 <- S10 + outer(x, x); S01 <- S01 + outer(y, y); S11 <- S11 + outer(x, y) + outer(y, x)
  }
  S10 <- S10 * I10 / ((I10 - 1) * M); S01 <- S01 * I01 / ((I01 - 1) * N); S11 <- S11 * I / (I - 1)
  list(total = S10 / M + S01 / N + S11 / (M * N), freedom = satterthwaite(S10[1, 1] / M, I10 - 1, S01[1, 1] / N, I01 - 1))
}
satterthwaite <- function(a, freedom_a, b, freedom_b) (a + b)^2 / (a^2 / freedom_a + b^2 / freedom_b)

named_test <- function(test) {
  list(statistic = unname(test$statistic), p_value = test$p.value, low = test$conf.int[1], high = test$conf.int[2])
}
unpaired_test <- function(roc_a, roc_b) {
  test <- roc.test(roc_a, roc_b, method = "delong", paired = FALSE)
  list(statistic = unname(test$statistic), p_value = test$p.value, freedom = unname(test$parameter))
}

judged <- function(table) {
  y <- table$outcome; a <- table$risk_a; b <- table$risk_b
  roc_a <- curve(y, a); roc_b <- curve(y, b)
  ci <- suppressWarnings(as.numeric(ci.auc(roc_a, method = "delong")))
  ci80 <- suppressWarnings(as.numeric(ci.auc(roc_a, method = "delong", conf.level = .8)))
  other <- samples[samples$sample == if (table$sample[1] == "tied") "small" else "tied", ]
  clustered <- clustered_covariance(y, table$group, components(y, a), components(y, b))
  grouped <- clustered$total
  alone <- clustered_covariance(y, seq_along(y), components(y, a), components(y, b))$total
  list(
    auc = as.numeric(auc(roc_a)), auc_b = as.numeric(auc(roc_b)), low = ci[1], high = ci[3],
    low80 = ci80[1], high80 = ci80[3], variance = suppressWarnings(var(roc_a)),
    paired = named_test(suppressWarnings(roc.test(roc_a, roc_b, method = "delong", paired = TRUE))),
    unpaired = unpaired_test(roc_a, curve(other$outcome, other$risk_b)),
    clustered_variance = grouped[1, 1], clustered_freedom = clustered$freedom,
    clustered_difference = grouped[1, 1] + grouped[2, 2] - 2 * grouped[1, 2],
    alone_variance = alone[1, 1],
    sensitivity_at = sapply(c(.5, .9, .95), function(x) coords(roc_a, x, "specificity", "sensitivity", transpose = TRUE)),
    specificity_at = sapply(c(.5, .9, .95), function(x) coords(roc_a, x, "sensitivity", "specificity", transpose = TRUE)),
    partial_specificity = sapply(list(c(.9, 1), c(.8, .95), c(0, 1)), function(r) standardised(y, a, r[1], r[2], "specificity")),
    partial_sensitivity = sapply(list(c(.9, 1), c(.8, .95), c(0, 1)), function(r) standardised(y, a, r[1], r[2], "sensitivity")),
    average_precision = average_precision(y, a)
  )
}

middle <- function(values) unname(quantile(values, c(.025, .975), type = 7))

resampled <- function(table, counts) {
  y <- table$outcome; a <- table$risk_a
  rows <- lapply(strsplit(counts, " "), function(row) rep(seq_along(y), as.integer(row)))
  over <- function(statistic) sapply(rows, function(row) statistic(y[row], a[row]))
  plain_auc <- function(y, a) as.numeric(auc(curve(y, a)))
  at <- function(x, input, ret) function(y, a) as.numeric(coords(curve(y, a), x, input, ret, transpose = TRUE))
  list(
    curve = list(sensitivity = rev(curve(y, a)$sensitivities), specificity = rev(curve(y, a)$specificities)),
    auc = middle(over(plain_auc)),
    average_precision = middle(over(average_precision)),
    sensitivity_at_90 = middle(over(at(.9, "specificity", "sensitivity"))),
    specificity_at_90 = middle(over(at(.9, "sensitivity", "specificity"))),
    partial = middle(over(function(y, a) standardised(y, a, .8, 1, "specificity")))
  )
}

tables <- split(samples, samples$sample)
golden <- lapply(tables, judged)
for (name in unique(resamples$sample)) {
  golden[[name]]$resampled <- resampled(tables[[name]], resamples$counts[resamples$sample == name])
}
write(toJSON(golden, digits = I(17), auto_unbox = TRUE, pretty = TRUE, na = "null"), file.path(here, "discrimination.json"))
