from langbot_plugin.api.definition.components.tool.tool import Tool

from components.tools._words import greeting


class Greet(Tool):
    async def call(self, params, *args, **kwargs):
        return greeting(params.get("name", "world"))
