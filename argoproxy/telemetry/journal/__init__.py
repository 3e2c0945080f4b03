"""The journal: what clients asked and got, and what upstreams were asked and answered."""
