"""The dialect of Argonne National Laboratory's Argo gateway: names, what is sent, what comes back."""
