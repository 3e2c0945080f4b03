"""The core: pure functions and frozen shapes. No I/O, no clock, standard library and `errors` only."""
