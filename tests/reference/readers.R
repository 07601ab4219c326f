# Makes readers.json from readers_studies.csv: values of MRMCaov 0.3.0 (R 4.2), of vcd's Kappa, and of the
# power formulas of RJafroc 2.1.3 on the components of the study "factorial".
# MRMCAOV and RJAFROC name folders with the packages' sources; without them the installed ones are loaded.
# Rscript readers.R
library(jsonlite)
here <- dirname(sub("--file=", "", grep("--file=", commandArgs(), value = TRUE)))
from <- Sys.getenv("MRMCAOV")
if (nzchar(from)) {
  library(tibble); library(progress); library(methods); library(mvtnorm); library(ggplot2)
  for (file in list.files(file.path(from, "R"), "[.]R$", full.names = TRUE)) source(file)
} else library(MRMCaov)

data <- read.csv(file.path(here, "readers_studies.csv"))
data$sensitive <- as.integer(data$rating >= 4)
design_calls <- list(
  random = function(d, metric, cov) eval(bquote(mrmc(.(metric), modality, reader, case, data = d, cov = .(cov)))),
  fixed_readers = function(d, metric, cov) eval(bquote(mrmc(.(metric), modality, fixed(reader), case, data = d, cov = .(cov)))),
  fixed_cases = function(d, metric, cov) eval(bquote(mrmc(.(metric), modality, reader, fixed(case), data = d, cov = .(cov))))
)
metrics <- list(
  auc = quote(empirical_auc(outcome, rating)),
  sensitivity = quote(binary_sens(outcome, sensitive)),
  specificity = quote(binary_spec(outcome, sensitive))
)

tests <- function(fit) {
  s <- summary(fit)
  equality <- s$test_equality
  list(
    components = if (!is.null(s$vcov_comps)) as.list(setNames(s$vcov_comps$Estimate, c("reader", "modality_reader", "error", "cov1", "cov2", "cov3"))),
    statistic = if ("F" %in% names(equality)) equality$F else equality$X2,
    p_value = equality$`p-value`,
    differences = cbind(s$test_diffs$Estimate, s$test_diffs$StdErr,
                        if (is.null(s$test_diffs$df)) NA else s$test_diffs$df,
                        s$test_diffs$CI, s$test_diffs$`p-value`),
    means = cbind(s$test_means$Estimate, s$test_means$StdErr,
                  if (is.null(s$test_means$df)) NA else s$test_means$df, s$test_means$CI),
    readers = if (!is.null(s$reader_means)) cbind(s$reader_means[[1]], s$reader_means$StdErr, s$reader_means$CI)
  )
}

studies <- list()
for (study in unique(data$study)) {
  d <- data[data$study == study, ]
  for (metric in names(metrics)) for (cov in c("DeLong", "jackknife")) {
    if (cov == "DeLong" && (metric != "auc" || !study %in% c("factorial", "three"))) next
    for (design in names(design_calls))
      studies[[study]][[metric]][[tolower(cov)]][[design]] <- tests(design_calls[[design]](d, metrics[[metric]], as.name(cov)))
  }
}

# A model against the panel: the differences to the model as a single modality of MRMCaov (Hillis 2005).
against <- list()
d <- data[data$study == "factorial" & data$modality == "m1", ]
model <- unique(d[c("case", "group", "outcome", "risk")])
model <- data.frame(study = "factorial", reader = "a_model", modality = "m1", model[c("case", "group", "outcome")],
                    rating = model$risk, risk = model$risk, sensitive = as.integer(model$risk >= 0.5))
joined <- rbind(d, model)
joined$modality <- joined$reader
for (cov in c("DeLong", "jackknife")) {
  # Readers as MRMCaov's tests, one fixed reader: its covariance matrix of all readers and the model.
  joined$reader <- 1
  fit <- eval(bquote(mrmc(empirical_auc(outcome, rating), modality, fixed(reader), case, data = joined, cov = .(as.name(cov)))))
  C <- unclass(fit$cov); theta <- fit$data[[1]]; J <- length(theta) - 1
  L <- cbind(1, -diag(J)); psi <- as.vector(L %*% theta); S <- L %*% C %*% t(L)
  MS <- var(psi); cov2 <- mean(S[row(S) != col(S)]); error <- mean(diag(S))
  se <- c(random = sqrt(MS / J + max(cov2, 0)), fixed_readers = sqrt((error + (J - 1) * max(cov2, 0)) / J),
          fixed_cases = sqrt(MS / J))
  df <- c(random = (MS + J * max(cov2, 0))^2 / (MS^2 / (J - 1)), fixed_readers = Inf, fixed_cases = J - 1)
  for (design in names(se)) {
    t <- mean(psi) / se[[design]]
    against[[tolower(cov)]][[design]] <- list(
      difference = mean(psi), error = se[[design]], df = if (is.finite(df[[design]])) df[[design]] else NA,
      interval = mean(psi) + c(-1, 1) * qt(.975, df[[design]]) * se[[design]], p_value = 2 * pt(-abs(t), df[[design]]))
  }
}

# Power, by RJafroc's function on fixed components (those of Van Dyke's study, in its help page).
from <- Sys.getenv("RJAFROC")
if (nzchar(from)) source(file.path(from, "R", "SsPowerGivenJK.R")) else library(RJafroc)
sizes <- list()
for (option in c("RRRC", "FRRC", "RRFC")) for (readers in c(3, 6, 12)) for (cases in c(80, 251)) {
  found <- SsPowerGivenJKOrVarCom(J = readers, K = cases, KStar = 114, effectSize = 0.05, VarTR = 0.00020040252,
    Cov1 = 0.00034661371, Cov2 = 0.00034407483, Cov3 = 0.00023902837, Var = 0.00080228827, analysisOption = option)
  sizes[[length(sizes) + 1]] <- list(option = option, readers = readers, cases = cases, power = found[[1]])
}

# Kappa of readers r1 and r2 in the study "factorial", without and with weights.
library(vcd)
wide <- data[data$study == "factorial" & data$modality == "m1", ]
r1 <- factor(wide$rating[wide$reader == "r1"], 1:5); r2 <- factor(wide$rating[wide$reader == "r2"], 1:5)
agreement <- list()
for (weights in c("Equal-Spacing", "Fleiss-Cohen")) {
  k <- Kappa(table(r1, r2), weights = weights)
  agreement[[weights]] <- list(weighted = c(k$Weighted[["value"]], k$Weighted[["ASE"]]),
                               plain = c(k$Unweighted[["value"]], k$Unweighted[["ASE"]]))
}

write_json(list(studies = studies, against = against, power = sizes, kappa = agreement),
           file.path(here, "readers.json"), digits = I(17), auto_unbox = TRUE, na = "null", null = "null")
