"""Where answers are kept that are given again."""
