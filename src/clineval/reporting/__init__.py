"""Records in, figures and words out: computes no statistic."""
