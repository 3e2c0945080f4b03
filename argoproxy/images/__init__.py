"""Image URLs in messages become data URLs: fetch, check and shrink them."""
