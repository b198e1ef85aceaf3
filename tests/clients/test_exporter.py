"""prometheus-redis-exporter, as it is: it scrapes lanemapd as it scrapes Redis."""
import re
import subprocess
import unittest
import urllib.request

from harness import Daemon, equal, eventually, free_port, main, need_program

EXPORTER = need_program("prometheus-redis-exporter", "prometheus-redis-exporter")
PASSWORD = "correct horse"


class Exporter:
    """It serves /metrics; each request scrapes lanemapd."""

    def __init__(self, *args):
        self.port = free_port()
        self.args = args

    def __enter__(self):
        self.process = subprocess.Popen([EXPORTER, f"--web.listen-address=127.0.0.1:{self.port}", *self.args],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        eventually(lambda: self.page("/health"))
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stderr.close()

    def page(self, path):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=20) as answer:
                return answer.read().decode()
        except OSError:
            return None

    def scrape(self):
        """Name with labels: value."""
        return dict(re.findall(r"^(redis_\S+(?: ?\S+)*) (\S+)$", self.page("/metrics"), re.M))


class PrometheusRedisExporter(unittest.TestCase):
    def check(self, metrics, n_keys):
        equal(metrics["redis_up"], "1")
        equal(metrics["redis_exporter_last_scrape_error{err=\"\"}"], "0", metrics)
        equal(metrics['redis_db_keys{db="db0"}'], str(n_keys))
        assert float(metrics["redis_memory_used_bytes"]) > 0, metrics
        assert float(metrics["redis_connected_clients"]) >= 1, metrics
        assert float(metrics["redis_commands_processed_total"]) >= 1, metrics
        assert float(metrics["redis_connections_received_total"]) >= 1, metrics
        assert any(name.startswith("redis_instance_info{") for name in metrics), metrics

    @staticmethod
    def errors(client):
        return re.search(rb"total_error_replies:(\d+)", client("INFO", "stats")[1])[1]

    def test_unix_socket(self):
        with Daemon() as daemon, Exporter(f"--redis.addr=unix://{daemon.socket}") as exporter:
            client = daemon.client()
            for i in range(5):
                client("SADD", f"k{i}", 1)
            self.check(exporter.scrape(), 5)
            errors = self.errors(client)
            self.check(exporter.scrape(), 5)
            equal(self.errors(client), errors) # every command of a scrape has an answer
            daemon.stop()
            equal(exporter.scrape()["redis_up"], "0")
            daemon.start()
            self.check(exporter.scrape(), 5)
            client.close()

    def test_tcp_with_a_password(self):
        port = free_port()
        with Daemon("--port", str(port), env={"LANEMAPD_REQUIREPASS": PASSWORD}, password=PASSWORD), \
                Exporter(f"--redis.addr=redis://127.0.0.1:{port}", f"--redis.password={PASSWORD}") as exporter:
            self.check(exporter.scrape(), 0)


if __name__ == "__main__":
    main()
