"""Outcome and risk in, frozen records out: this room knows no model, file, image or axes."""
