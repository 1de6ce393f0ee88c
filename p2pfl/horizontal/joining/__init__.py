"""Coming and going: the greeting, the newcomer and its donors, and leaving after one's neighbours."""
