from langbot_plugin.api.definition.plugin import BasePlugin


class Quickstart(BasePlugin):
    async def initialize(self):
        pass
