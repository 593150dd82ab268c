from langbot_plugin.api.definition.plugin import BasePlugin


class Bot(BasePlugin):
    async def initialize(self):
        pass
