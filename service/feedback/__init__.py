"""Feedback: receipts, the store of reviewers' answers, and how thresholds learn from them."""
