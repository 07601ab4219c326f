"""Images, outcomes and splits: this room knows files, and no model or metric."""
