"""Makes a container NAME in the Azure account that the environment names; one that is there is as good.

The request is signed with the account's key as the storage service documents it ("Shared Key", version
2009-09-19 and later): the method, eleven standard headers (here all empty: there is no body), the
x-ms-* headers in order, and the path behind the account's name with the query's names in order.
"""

import base64
import email.utils
import hashlib
import hmac
import os
import sys
import urllib.error
import urllib.request
from urllib.parse import urlsplit

account, key = os.environ["AZURE_STORAGE_ACCOUNT_NAME"], os.environ["AZURE_STORAGE_ACCOUNT_KEY"]
url = f"{os.environ['AZURE_STORAGE_ENDPOINT']}/{sys.argv[1]}"
headers = {"x-ms-date": email.utils.formatdate(usegmt=True), "x-ms-version": "2021-12-02"}
named = "".join(f"{name}:{value}\n" for name, value in sorted(headers.items()))
signed = "PUT" + "\n" * 12 + named + f"/{account}{urlsplit(url).path}\nrestype:container"
digest = hmac.new(base64.b64decode(key), signed.encode(), hashlib.sha256).digest()
headers["Authorization"] = f"SharedKey {account}:{base64.b64encode(digest).decode()}"
request = urllib.request.Request(url + "?restype=container", method="PUT", headers=headers)
try:
    urllib.request.urlopen(request, timeout=10).close()
except urllib.error.HTTPError as error:
    if error.code != 409:
        sys.exit(f"{url}: {error.code} {error.read().decode(errors='replace')}")
