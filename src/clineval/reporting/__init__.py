"""Records in, figures and words out: this room computes no statistic."""
