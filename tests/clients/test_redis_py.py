"""redis-py (python3-redis), as it is, against lanemapd: what a program does with it, on both transports."""
import asyncio
import signal
import threading
import unittest

from harness import Daemon, equal, eventually, free_port, main, need_module

redis = need_module("redis", "python3-redis")
redis_asyncio = need_module("redis.asyncio", "python3-redis")

PASSWORD = "correct horse"


def tcp_daemon():
    """A Unix socket, and TCP with a password."""
    port = free_port()
    return Daemon("--port", str(port), env={"LANEMAPD_REQUIREPASS": PASSWORD}, password=PASSWORD), port


class RedisPy(unittest.TestCase):
    def check_words(self, client):
        equal(client.ping(), True)
        equal(client.sadd("k", 1, 2, 3), 3)
        equal(client.sadd("k", 3), 0)
        equal(client.smembers("k"), {"1", "2", "3"})
        equal((client.sismember("k", 2), client.sismember("k", 9)), (True, False))
        equal(client.smismember("k", [1, 9]), [1, 0])
        equal(client.scard("k"), 3)
        equal(client.srem("k", 1, 9), 1)
        equal((client.exists("k", "none"), client.type("k"), client.type("none")), (1, "set", "none"))
        equal((client.delete("k"), client.smembers("k"), client.dbsize()), (1, set(), 0))

    def test_unix_socket(self):
        with Daemon() as daemon:
            with redis.Redis(unix_socket_path=daemon.socket, decode_responses=True) as client:
                self.check_words(client)
                equal(client.sadd(b"\x00\xff\r\n", 7), 1)
                equal(client.smembers(b"\x00\xff\r\n"), {"7"})

    def test_tcp_with_a_password(self):
        daemon, port = tcp_daemon()
        with daemon:
            with redis.Redis(port=port, password=PASSWORD, decode_responses=True) as client:
                self.check_words(client)
            with redis.Redis(port=port, username="default", password=PASSWORD) as client:
                equal(client.ping(), True)
            with self.assertRaises(redis.AuthenticationError):
                redis.Redis(port=port).sadd("k", 1)
            with self.assertRaisesRegex(redis.ResponseError, "^WRONGPASS "):
                redis.Redis(port=port, password="wrong").ping()
            with redis.from_url(f"redis://:{PASSWORD.replace(' ', '%20')}@127.0.0.1:{port}/0") as client:
                equal(client.scard("k"), 0)
            with self.assertRaises(redis.ResponseError):
                redis.Redis(port=port, password=PASSWORD, db=1).ping()

    def test_pipelines_and_transactions(self):
        with Daemon() as daemon, redis.Redis(unix_socket_path=daemon.socket, decode_responses=True) as client:
            with client.pipeline(transaction=False) as pipe:
                for i in range(10000):
                    pipe.sadd(f"p:{i % 100}", i)
                equal(pipe.execute(), [1] * 10000)
            equal(client.scard("p:7"), 100)
            with client.pipeline() as pipe:
                equal(pipe.sadd("t", 1, 2).srem("t", 1).smembers("t").scard("t").execute(), [2, 1, {"2"}, 1])
            with client.pipeline() as pipe:
                pipe.sadd("t", 5).sadd("t", "no number").sadd("t", 6)
                answers = pipe.execute(raise_on_error=False)
            equal((answers[0], type(answers[1]), answers[2]), (1, redis.ResponseError, 1))
            with client.pipeline() as pipe, self.assertRaises(redis.ResponseError):
                pipe.sadd("t", 7).execute_command("NOSUCHWORD").execute()
            equal(client.smembers("t"), {"2", "5", "6"})

    def test_errors_are_the_clients_own(self):
        with Daemon() as daemon, redis.Redis(unix_socket_path=daemon.socket, decode_responses=True) as client:
            with self.assertRaisesRegex(redis.ResponseError, "^value is not an integer or out of range$"):
                client.sadd("k", "x")
            with self.assertRaisesRegex(redis.ResponseError, "unknown command 'NOSUCHWORD'"):
                client.execute_command("NOSUCHWORD", 1)
            with self.assertRaisesRegex(redis.ResponseError, "sets of integers only"):
                client.set("k", "v")
            equal(client.sadd("k", 1), 1) # the connection is as good as before

    def test_a_daemon_that_dies_and_comes_back(self):
        daemon, port = tcp_daemon()
        with daemon:
            options = {"password": PASSWORD, "decode_responses": True}
            clients = [redis.Redis(port=port, **options), redis.Redis(unix_socket_path=daemon.socket, **options)]
            equal([client.sadd("k", i) for i, client in enumerate(clients)], [1, 1])
            daemon.stop(signal.SIGKILL)
            for client in clients:
                with self.assertRaises(redis.ConnectionError):
                    client.smembers("k")
            daemon.start(wait=False)
            for client in clients:
                equal(eventually(lambda client=client: self.members_or_nothing(client)), {"0", "1"})
                client.close()

    @staticmethod
    def members_or_nothing(client):
        """As a program that waits for its server; BusyLoadingError is a ConnectionError."""
        try:
            return client.smembers("k")
        except redis.ConnectionError:
            return None

    def test_the_next_command_after_a_restart_is_answered(self):
        with Daemon() as daemon, redis.Redis(unix_socket_path=daemon.socket) as client:
            equal(client.sadd("k", 1), 1)
            daemon.stop()
            daemon.start()
            equal(client.smembers("k"), {b"1"})

    def test_a_reply_that_does_not_come_is_a_timeout(self):
        with Daemon() as daemon:
            client = redis.Redis(unix_socket_path=daemon.socket, socket_timeout=0.2)
            equal(client.ping(), True)
            daemon.process.send_signal(signal.SIGSTOP)
            try:
                with self.assertRaises(redis.TimeoutError):
                    client.ping()
            finally:
                daemon.process.send_signal(signal.SIGCONT)
            equal(client.ping(), True)
            client.close()

    def test_a_pool_of_many_threads(self):
        with Daemon("--appendfsync", "everysec") as daemon:
            client = redis.Redis(connection_pool=redis.BlockingConnectionPool(
                connection_class=redis.UnixDomainSocketConnection, path=daemon.socket, max_connections=8))
            threads = [threading.Thread(target=lambda first=first: [client.sadd("all", first + i) for i in range(100)])
                       for first in range(0, 2000, 100)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(60)
            equal(client.scard("all"), 2000)
            client.close()

    def test_client_info(self):
        port = free_port()
        with Daemon("--port", str(port), env={"LANEMAPD_REQUIREPASS": PASSWORD}, password=PASSWORD):
            with redis.Redis(port=port, password=PASSWORD, decode_responses=True, client_name="routes") as client:
                info = client.client_info()
                equal((info["id"], info["name"], info["cmd"], info["db"]),
                      (client.client_id(), "routes", "client|info", 0))
                assert info["addr"].startswith("127.0.0.1:") and info["laddr"] == f"127.0.0.1:{port}", info
                assert info["tot-mem"] > info["omem"] and info["argv-mem"] >= 0, info
                equal([int(one["id"]) for one in client.client_list(_type="normal")], [info["id"]])
                equal(client.client_list(_type="replica"), [])

    def test_client_kill(self):
        with Daemon() as daemon:
            with redis.Redis(unix_socket_path=daemon.socket) as one, redis.Redis(unix_socket_path=daemon.socket) as two:
                equal((one.ping(), two.ping()), (True, True))
                victim = one.client_id()
                equal(two.client_kill_filter(_id=victim), 1)
                assert one.client_id() != victim # connected again

    def test_asyncio(self):
        with Daemon("--appendfsync", "everysec") as daemon:
            asyncio.run(self.work_in_tasks(daemon))

    async def work_in_tasks(self, daemon):
        client = redis_asyncio.Redis(unix_socket_path=daemon.socket, decode_responses=True, max_connections=16)

        async def add(first):
            async with client.pipeline(transaction=first % 200 == 0) as pipe:
                for i in range(first, first + 100):
                    pipe.sadd("all", i)
                return await pipe.execute()

        added = await asyncio.gather(*(add(first) for first in range(0, 1600, 100)))
        equal(added, [[1] * 100] * 16)
        equal((await client.scard("all"), await client.sismember("all", 1599)), (1600, True))
        with self.assertRaisesRegex(redis.ResponseError, "not an integer"):
            await client.sadd("all", "x")
        daemon.stop(signal.SIGKILL)
        with self.assertRaises(redis.ConnectionError):
            await client.ping()
        daemon.start()
        equal(await client.scard("all"), 1600)
        await client.close()
        await client.connection_pool.disconnect()

    def test_what_an_operator_asks(self):
        with Daemon("--appendfsync", "everysec") as daemon:
            client = redis.Redis(unix_socket_path=daemon.socket, decode_responses=True, client_name="routes")
            client.sadd("k", 1)
            info = client.info()
            equal((info["redis_mode"], info["db0"]["keys"], info["loading"]), ("standalone", 1, 0))
            equal(client.info("keyspace")["db0"]["keys"], 1)
            equal(client.config_get("appendfsync"), {"appendfsync": "everysec"})
            equal(client.config_set("appendfsync", "no"), True)
            equal(client.client_getname(), "routes")
            assert client.client_id() > 0
            equal([one["name"] for one in client.client_list()], ["routes"])
            info = client.client_info()
            equal((info["name"], info["multi"], info["db"], type(info["tot-mem"])), ("routes", -1, 0, int))
            equal(client.client_kill_filter(_id=client.client_id() + 1000), 0)
            equal((client.acl_whoami(), client.acl_list()[0].split()[:2], client.module_list()), ("default", ["user", "default"], []))
            equal(client.execute_command("ROLE")[0], "master")
            equal(client.command()["sadd"]["arity"], -3)
            equal(client.execute_command("LANEMAP.ADD", "k", 2), [1, 2])
            client.close()


if __name__ == "__main__":
    main()
