"""A test in another language: it drives langbot-mock through its admin API.

    go build -o langbot-mock ./cmd/langbot-mock
    LANGBOT_MOCK=./langbot-mock python3 -m unittest examples/mock/mock_test.py
"""

import json
import os
import subprocess
import unittest
import urllib.error
import urllib.request


def ask(method, url, body=None, key=None):
    """Makes a request, and returns its status and JSON."""
    request = urllib.request.Request(url, method=method)
    if key:
        request.add_header("X-API-Key", key)
    if body is not None:
        request.add_header("Content-Type", "application/json")
        request.data = json.dumps(body).encode()
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


class InstallTest(unittest.TestCase):
    """What a program would do that installs a plugin and shows how far it is."""

    @classmethod
    def setUpClass(cls):
        cls.mock = subprocess.Popen(
            [os.environ["LANGBOT_MOCK"], "-addr", "127.0.0.1:0", "-admin", "127.0.0.1:0", "-version", "4.11.2", "-api-key", "test-key"],
            stdout=subprocess.PIPE, text=True)
        told = dict(line.strip().split("=", 1) for line in iter(cls.mock.stdout.readline, "ready\n"))
        cls.url, cls.admin, cls.key = told["LANGBOT_URL"], told["LANGBOT_MOCK_ADMIN"] + "/__mock/v1/", told["LANGBOT_API_KEY"]

    @classmethod
    def tearDownClass(cls):
        cls.mock.terminate()
        assert cls.mock.wait(timeout=20) == 0, "SIGTERM ends it in order"
        cls.mock.stdout.close()

    def setUp(self):
        self.act("reset")
        self.act("marketplace", author="acme", name="hello", version="1.0.0")

    def act(self, action, **body):
        status, answer = ask("POST", self.admin + action, body)
        self.assertEqual(status, 200, answer)
        return answer

    def install(self):
        status, answer = ask("POST", self.url + "/api/v1/plugins/install/marketplace", {"plugin_author": "acme", "plugin_name": "hello"}, self.key)
        self.assertEqual(status, 200, answer)
        return answer["data"]["task_id"]

    def task(self, number):
        _, answer = ask("GET", f"{self.url}/api/v1/system/tasks/{number}", key=self.key)
        return answer["data"]["status"]

    def test_it_hangs_and_then_runs(self):
        op = "POST /api/v1/plugins/install/marketplace"
        self.act("scripts", op=op, steps=[{"action": "waiting for plugin initialization", "percent": 84, "hold": True}])
        number = self.install()
        self.act("clock", advance="1h")
        self.assertEqual(self.task(number), "running")
        self.assertTrue(self.act("release", op=op)["released"])
        self.assertEqual(self.task(number), "succeeded")
        _, plugins = ask("GET", self.url + "/api/v1/plugins", key=self.key)
        self.assertEqual([p["manifest"]["manifest"]["metadata"]["name"] for p in plugins["data"]["plugins"]], ["hello"])

    def test_it_fails(self):
        self.act("scripts", op="POST /api/v1/plugins/install/", end="fail-to-start")
        number = self.install()
        self.act("clock", advance="1m")
        self.assertEqual(self.task(number), "failed")

    def test_the_network_fails_once(self):
        self.act("faults", op="GET /api/v1/plugins", effect="status", status=503, first=1)
        self.assertEqual([ask("GET", self.url + "/api/v1/plugins", key=self.key)[0] for _ in range(2)], [503, 200])
        self.assertEqual(self.act("faults/clear")["missed"], [])

    def test_what_was_asked(self):
        self.install()
        _, journal = ask("GET", self.admin + "journal?op=POST%20/api/v1/plugins/install/")
        self.assertEqual([(c["status"], c["by"]) for c in journal["calls"]], [(200, "key")])
        self.assertNotIn("test-key", json.dumps(journal))


if __name__ == "__main__":
    unittest.main()
