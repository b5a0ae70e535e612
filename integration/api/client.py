"""A client that was generated from the API's document lists findings and verdicts: python client.py URL"""

import compileall
import sys

assert compileall.compile_dir("netd_client", quiet=1), "the generated client does not compile"
sys.path.insert(0, ".")

from netd_client import Client  # noqa: E402
from netd_client.api.enforcement import list_verdicts  # noqa: E402
from netd_client.api.findings import get_finding, list_findings  # noqa: E402
from netd_client.api.operation import get_status  # noqa: E402

client = Client(base_url=sys.argv[1])
page = list_findings.sync(client=client)
assert [finding.id for finding in page.items] == [3, 2, 1], page
assert page.items[0].detector == "beacon"
assert get_finding.sync(id="2", client=client).severity.value == "high"
targets = [verdict.target.to_dict() for verdict in list_verdicts.sync(client=client).items]
assert {target["kind"] for target in targets} == {"host", "prefix"}, targets
status = get_status.sync(client=client)
assert (status.mode.effective.value, status.kill_switch, status.flows.held) == ("enforce", False, 3), status
