from langbot_plugin.api.definition.plugin import BasePlugin


class Ensured(BasePlugin):
    async def initialize(self):
        pass
