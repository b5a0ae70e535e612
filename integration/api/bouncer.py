"""A CrowdSec bouncer's client, unchanged, against netd: python bouncer.py URL KEY KEY"""

import sys
import time
import urllib.request

from pycrowdsec.client import QueryClient, StreamClient

url = sys.argv[1] + "/"
deadline = time.monotonic() + 60

stream = StreamClient(api_key=sys.argv[2], lapi_url=url, interval=1)
stream.run()
assert stream.get_current_decisions() == {"198.51.100.9/32": "ban", "203.0.113.0/24": "ban"}, stream.get_current_decisions()
assert stream.get_action_for("203.0.113.77") == "ban"
assert stream.get_action_for("192.0.2.1") is None

query = QueryClient(api_key=sys.argv[3], lapi_url=url)
(decision,) = query.get_decisions_for("203.0.113.77")
assert (decision["scope"], decision["value"]) == ("Range", "203.0.113.0/24"), decision
assert query.get_action_for("198.51.100.9") == "ban"
assert query.get_decisions_for("192.0.2.1") is None

# A verdict that is released is one that the bouncer lifts.
(of_host,) = query.get_decisions_for("198.51.100.9")
release = urllib.request.Request(f"{url}api/v1/verdicts/{of_host['id']}", method="DELETE")
urllib.request.urlopen(release).close()
while stream.get_action_for("198.51.100.9") is not None:
    assert time.monotonic() < deadline, "the bouncer still bans what was released"
    time.sleep(0.1)
assert stream.get_current_decisions() == {"203.0.113.0/24": "ban"}
