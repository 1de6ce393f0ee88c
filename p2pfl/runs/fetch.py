"""How commands ask a node over HTTP: no proxy, and any node's certificate. Knows urllib; knows no route.

A node's certificate is signed by itself, and a command knows a URL only, not which node is meant. So what it hears is
as trustworthy as it would be without TLS: pieces of the ledger are checked by their signatures, a status is not.
"""

import ssl
import urllib.request


def opener() -> urllib.request.OpenerDirector:
    """Opens http and https URLs of nodes."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
