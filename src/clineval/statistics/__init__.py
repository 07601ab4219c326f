"""Outcome and risk in, frozen records out: this package knows no model, file, image or axes."""
