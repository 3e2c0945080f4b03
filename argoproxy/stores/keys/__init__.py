"""Where managed keys are kept, who accepts them, and what operators do with them."""
