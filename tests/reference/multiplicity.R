# Golden values of Holm's p values for tests/test_differences.py:
#   Rscript tests/reference/multiplicity.R > tests/reference/multiplicity.json
p <- c(0.011, 0.2, 0.0004, 0.04, NA, 0.04, 0.9, 0.013)
number <- function(x) ifelse(is.na(x), "null", formatC(x, digits = 17, format = "g"))
listed <- function(x) paste0("[", paste(number(x), collapse = ", "), "]")
z <- qnorm(0.975) + qnorm(0.8)
cat('{"p_value": ', listed(p), ',\n "holm": ', listed(p.adjust(p, "holm")),
    ',\n "errors_found_with_80_percent_power": ', number(z), "}\n", sep = "")
