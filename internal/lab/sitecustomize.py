# Python imports this when it starts: GitHub's names lead to the stand-in on this machine, and its certificate is good.
import asyncio.base_events
import os
import socket

import certifi

ADDRESS = '127.0.0.77'
PORT = int(os.environ['LAB_GITHUB_PORT'])
NAMES = {'github.com', 'api.github.com', 'objects.githubusercontent.com'}

look_up = socket.getaddrinfo
connect = asyncio.base_events.BaseEventLoop.create_connection


def getaddrinfo(host, *args, **kwargs):
    name = host.decode() if isinstance(host, bytes) else host
    return look_up(ADDRESS if name in NAMES else host, *args, **kwargs)


async def create_connection(self, protocol_factory, host=None, port=None, **kwargs):
    if host == ADDRESS and port == 443:
        host, port = '127.0.0.1', PORT
    return await connect(self, protocol_factory, host, port, **kwargs)


socket.getaddrinfo = getaddrinfo
asyncio.base_events.BaseEventLoop.create_connection = create_connection
certifi.where = lambda: os.environ['SSL_CERT_FILE']
