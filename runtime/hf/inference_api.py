"""The file that KAITO's command names.

``accelerate launch --num_processes 1 --num_machines 1 --machine_rank 0
--gpu_ids all inference_api.py --pipeline text-generation ...``

Images have it as ``/workspace/tfs/inference_api.py``; it needs nothing beside
it but the installed package.
"""

from pykaito.runtime.hf.main import main

if __name__ == "__main__":
    main()
