"""Model servers behind one port; LangChain's chat models live here and nowhere else."""
